"""Published figures from all sources, in one unit, beside ours."""

import pytest

from attncli.analysis import deviation
from attncli.analysis.count_cache import CountCache
from attncli.analysis.deviation import collect_figures
from attncli.literature import published
from attncli.literature.published import ParameterMatch, PublishedNetwork, PublishedRow
from attncli.runs import RunStore, read_finished_runs
from tests.claims.case import run

NET = PublishedNetwork(backbone="resnet20", attn="eca", classes=10, size=32)


def row(match=None, verified="seen", **printed) -> PublishedRow:
    """A row about resnet20 + eca on CIFAR-10."""
    return PublishedRow(
        "CIFAR-10", "resnet20", "eca", printed, printed.pop("source", "a paper"), verified, "eca", match
    )


def found(folder, *rows, runs=()):
    """The figures by name."""
    return {f.name: f for f in collect_figures(rows, CountCache(), runs)}


def test_units_are_made_one(tmp_path):
    """27 weights over 269,722: printed in millions, in 2^20 and exactly, it is one figure."""
    rows = [row(ParameterMatch(network=NET), params_m=0.27), row(ParameterMatch(network=NET), params=269_749)]
    rows += [row(ParameterMatch(network=NET, unit=2**20), params_m=0.257)]
    figure = found(tmp_path, *rows)["params"]
    assert figure.ours == pytest.approx(0.269749)
    assert [p.value for p in figure.printed] == pytest.approx([0.27, 0.269749, 0.257 * 1.048576])
    assert figure.printed[2].text == "0.257 M of 2^20"
    assert figure.source_spread < 0.2
    low, high = figure.deviation_range
    assert -0.2 < low <= 0 <= high < 0.2


def test_macs_in_gibi_are_converted(tmp_path):
    """3.86 of 2^30 are 4.14 billion, as 24.37 of 2^20 are 25.55 million parameters."""
    figure = found(tmp_path, row(gflops=3.86, unit="params in 2^20; GFLOPs apparently in 2^30"))["macs"]
    assert figure.printed[0].value == pytest.approx(3.86 * 1.073741824)
    assert figure.printed[0].text == "3.86 G (apparently of 2^30)"


def test_the_first_version_of_resnet_is_another_network(monkeypatch):
    """A source that counts v1 (3.86 G) is no deviation of v1.5 (4.09 G) and no disagreement with one that counts it."""
    monkeypatch.setattr("attncli.analysis.deviation._find_own_figure", lambda *_: (4.0893, 0))
    rows = [
        PublishedRow("ImageNet-1k", "resnet50", "se", {"gflops": value}, f"source of {value}", "seen", "se")
        for value in (3.87, 4.13)
    ]
    [figure] = collect_figures(rows, CountCache())
    assert [figure.is_first_version(printed) for printed in figure.printed] == [True, False]
    assert figure.source_spread == 0.0
    assert figure.deviation_range == pytest.approx((100 * (4.0893 / 4.13 - 1),) * 2)


@pytest.mark.parametrize(
    ("backbone", "ours", "first_version", "others"),
    [("resnet50", 4.089, 3.86, 4.14), ("resnet101", 7.801, 7.58, 7.34), ("resnet152", 11.51, 11.3, 11.62)],
)
def test_the_first_version_is_told_by_the_depth(backbone, ours, first_version, others):
    """It saves 0.231 G in each, so a smaller share of the deeper ones."""
    printed = [deviation.PrintedFigure(value, f"{value} G", "s", True) for value in (first_version, others)]
    figure = deviation.PublishedFigure("ImageNet-1k", backbone, "macs", tuple(printed), ours)
    assert [figure.is_first_version(p) for p in printed] == [True, False]


def test_tables_that_count_in_two_units_are_read_in_their_own():
    """Plain networks of the table of ECA-Net stand in one file, those with ECA in another: all in 2^30, none is v1."""
    table = [r for r in published.load_published_rows() if r.source == "ECA-Net paper Table 3"]
    bottlenecks = [r for r in table if r.backbone in deviation.FIRST_VERSION_SHARES and r.attn in ("none", "eca")]
    figures = [f for f in collect_figures(bottlenecks, CountCache()) if f.name == "macs"]
    assert len(figures) == 6
    assert not any(f.is_first_version(p) for f in figures for p in f.printed)


def test_one_network_of_two_names_is_one():
    """A source writes resnext50, another resnext50_32x4d: their figures are set against each other."""
    rows = [
        PublishedRow("ImageNet-1k", backbone, "none", {"top1": value}, "s", "seen", "se")
        for backbone, value in (("resnext50", 77.89), ("resnext50_32x4d", 77.77))
    ]
    [figure] = collect_figures(rows, CountCache())
    assert (figure.network, figure.source_spread) == ("resnext50_32x4d", pytest.approx(0.12))


@pytest.mark.parametrize(
    ("backbone", "printed", "side"),
    [("efficientnet_b1", {}, 240), ("resnet50", {"img_size": 256}, 256), ("resnet50", {}, 224)],
)
def test_images_are_of_the_size_of_the_source(backbone, printed, side):
    """A row says its size, or the network has one of its own; else 224 px on ImageNet."""
    published_row = PublishedRow("ImageNet-1k", backbone, "se", {"gflops": 1.0, **printed}, "s", "seen", "se")
    assert deviation._guess_network(published_row).size == side


def test_runs_on_a_part_of_the_dataset_are_not_ours(tmp_path):
    """A run on two classes is not set beside a published figure of all of them."""
    run(tmp_path / "runs", attn="eca", seed=0, top1=0.99, data__name="cifar10", data__classes=2)
    figure = found(tmp_path, row(top1=92.5), runs=read_finished_runs(RunStore(tmp_path / "runs")))["top1"]
    assert (figure.ours, figure.n) == (None, 0)


def test_what_a_source_has_more_is_taken_off(tmp_path):
    """2,752 parameters that only the source's network has are no deviation."""
    figure = found(tmp_path, row(ParameterMatch(network=NET, plus=2752, why="biases"), params=269_749 + 2752))["params"]
    assert figure.deviation_range == (0.0, 0.0)


def test_errors_are_accuracies(tmp_path):
    """An error of 8.11 % is a top-1 of 91.89 %; ours is the mean of the runs on the same data."""
    for seed, top1 in enumerate((0.92, 0.93)):
        run(tmp_path / "runs", attn="eca", seed=seed, top1=top1, data__name="cifar10")
        run(tmp_path / "runs", attn="eca", seed=seed, top1=0.1, data__name="digits")
    figure = found(tmp_path, row(err1=8.11), row(top1=92.5), runs=read_finished_runs(RunStore(tmp_path / "runs")))[
        "top1"
    ]
    assert [p.value for p in figure.printed] == [91.89, 92.5]
    assert (figure.ours, figure.n) == (pytest.approx(92.5), 2)
    assert figure.deviation_range == pytest.approx((0.0, 0.61))
    assert figure.source_spread == pytest.approx(0.61)


def test_other_settings_are_other_networks(tmp_path):
    """se with reduction 8 is not se; a network that is not here has no figure of ours."""
    rows = [row(top1=90.0), row(top1=91.0, reduction=8)]
    rows.append(PublishedRow("CIFAR-10", "alexnet", "eca", {"top1": 80.0}, "s", "no", "eca"))
    names = [(f.network, f.ours) for f in collect_figures(rows, CountCache())]
    assert names == [("resnet20 + eca", None), ("resnet20 + eca, reduction 8", None), ("alexnet + eca", None)]


def test_every_published_row_is_told(tmp_path, monkeypatch):
    """Each figure of each row is among those of its network."""
    monkeypatch.setattr("attncli.analysis.deviation._find_own_figure", lambda *_: (None, 0))
    told = sum(len(f.printed) for f in collect_figures(published.load_published_rows(), CountCache()))
    keys = (("params", "params_m"), ("gflops",), ("top1", "err1", "error"))
    assert told == sum(any(k in r.figures for k in names) for r in published.load_published_rows() for names in keys)
