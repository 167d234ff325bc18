"""The counts that attncli brings are those of today's code, and are used only if they are."""

import json
import shutil
from pathlib import Path

import pytest

from attncli import attention, validation
from attncli.analysis import count_cache, shipped_counts
from attncli.analysis.count_cache import SHIPPED_NAMES, CountCache
from attncli.analysis.deviation import collect_figures
from attncli.analysis.network_key import ImageSpec
from attncli.analysis.shipped_counts import (
    PACKAGE,
    QUANTITIES,
    USUAL_IMAGES,
    find_shipped_cost,
    find_shipped_counts,
    name_network,
)
from attncli.claims.claim_files import load_claims
from attncli.claims.evidence import Evidence
from attncli.claims.judge import judge_claims
from attncli.claims.throughput import SpeedStore
from attncli.literature import published
from attncli.measure import overhead
from attncli.measure.cost import count_recipe
from attncli.model import InputSpec
from attncli.recipe import Model, Recipe
from tests.commands.line import line
from tests.generate.overheads import count_figures

RESNET20 = name_network("resnet20", (32, 32), 10)
SAMPLE = [("resnet20", name) for name in ("none", "eca", "cbam", "sk", "lambda")] + [("mobilenet_v2", "se")]


@pytest.fixture
def current(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file as if today's code had counted it, for these are tests of how it is used."""
    known = shipped_counts.read_shipped_overheads()
    assert known is not None
    monkeypatch.setattr(shipped_counts, "hash_shared_code", lambda: known.shared_code)
    monkeypatch.setattr(shipped_counts, "hash_mechanism_code", lambda name: known.mechanism_code[name])


def test_a_combination_with_a_users_file_is_not_among_them(tmp_path: Path) -> None:
    """Its name is no path: neither that of its file, nor that of the whole combination, is read for a hash."""
    (tmp_path / "mine.py").write_text("from torch import nn\n\nclass Gate(nn.Identity): ...\n")
    for attn in (f"{tmp_path}/mine.py:Gate", f"se+{tmp_path}/mine.py:Gate", "se+simam"):
        chosen = Model(backbone="resnet20", attn=attn)
        assert shipped_counts.find_literature_count("params", chosen, ImageSpec(32, 10)) is None


def test_every_mechanism_is_counted_or_refused() -> None:
    """On each backbone, for images or for clips."""
    known = shipped_counts.read_shipped_overheads()
    assert known is not None
    for backbone in USUAL_IMAGES:
        of_backbone = [n for n in (*known.counts, *known.refusals) if n.startswith(f"{backbone} ")]
        names = {attn for n in of_backbone for part in (known.counts, known.refusals) for attn in part.get(n, {})}
        assert names == {"none", *attention.mechanism_names()}


@pytest.mark.parametrize(("backbone", "attn"), SAMPLE)
def test_counts_are_those_of_the_code(backbone: str, attn: str) -> None:
    """A sample, counted again."""
    known = shipped_counts.read_shipped_overheads()
    classes, side = USUAL_IMAGES[backbone]
    assert known is not None
    assert known.counts[name_network(backbone, (side, side), classes)][attn] == count_figures(attn, backbone)


def test_published_totals_stand_in_the_file() -> None:
    """resnet50 with 25,557,032 parameters, SE-ResNet-50 as published, resnet20 with 0.27 M."""
    known = shipped_counts.read_shipped_overheads()
    assert known is not None
    of_resnet50 = known.counts[name_network("resnet50", (224, 224), 1000)]
    assert (of_resnet50["none"][0], of_resnet50["se"][0]) == (25_557_032, 28_071_976)
    assert of_resnet50["gc"][0] == 28_078_773


@pytest.mark.usefixtures("current")
def test_only_the_very_network_is_looked_up() -> None:
    """Defaults that are written out are the default form; other options, stages, sizes and classes are not in it."""

    def find(*keys: str, size: tuple[int, int] = (32, 32), classes: int = 10) -> dict[str, int] | None:
        model = validation.read(None, ["model.backbone=resnet20", "model.attn=se", *keys]).model
        return find_shipped_counts(model, size, classes)

    known = shipped_counts.read_shipped_overheads()
    assert known is not None
    figures = dict(zip(QUANTITIES, known.counts[RESNET20]["se"], strict=True))
    assert find() == find("model.options.reduction=16") == figures
    assert find_shipped_counts(Model(backbone="resnet20", attn="se"), (32, 32), 10) == figures
    for keys in ("model.options.reduction=8", "model.stages=[1]", "model.site=block-input", "model.channels=1"):
        assert find(keys) is None
    assert find(size=(64, 64)) is None
    assert find(size=(32, 64)) is None
    assert find(classes=100) is None


def test_counts_of_other_code_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other code of the mechanism takes away its own figures, other shared code those of all."""
    known = shipped_counts.read_shipped_overheads()
    assert known is not None
    monkeypatch.setattr(shipped_counts, "hash_shared_code", lambda: known.shared_code)
    monkeypatch.setattr(
        shipped_counts, "hash_mechanism_code", lambda name: known.mechanism_code[name] + "x" * (name == "se")
    )
    usable = [find_shipped_counts(Model(backbone="resnet20", attn=n), (32, 32), 10) is not None for n in ("se", "eca")]
    assert usable == [False, True]
    monkeypatch.setattr(shipped_counts, "hash_shared_code", lambda: "other")
    assert find_shipped_counts(Model(backbone="resnet20"), (32, 32), 10) is None


@pytest.mark.usefixtures("current")
def test_claims_and_measure_use_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without building a network, and with the same figures as if they were counted."""
    monkeypatch.setattr("attncli.model.build", None)
    recipe = validation.read(None, ["model.backbone=resnet20", "model.attn=eca"])
    known = shipped_counts.read_shipped_overheads()
    assert known is not None
    eca, plain = known.counts[RESNET20]["eca"], known.counts[RESNET20]["none"]
    cache = CountCache(tmp_path / "counts.json")
    counted = [cache.get_count(name, recipe, ImageSpec(32, 10)) for name in ("params", "macs", "memory")]
    assert counted == [eca[0], eca[1], eca[3]]
    shape = InputSpec(10, (32, 32))
    cost = overhead.measure_recipe_overhead(recipe, shape, with_speed=False, find_cost=find_shipped_cost).cost
    assert cost is not None
    assert [getattr(cost, name) for name in QUANTITIES] == eca
    assert [getattr(cost, f"baseline_{name}") for name in QUANTITIES] == plain


@pytest.mark.usefixtures("current")
def test_claims_and_published_figures_build_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file has all that they name; a first `report` counted for minutes, and said nothing meanwhile."""
    counted: list[str] = []
    monkeypatch.setattr(count_cache, "_count_now", lambda name, recipe, images: counted.append(recipe.model.attn) or 1)
    cache = CountCache(tmp_path / "counts.json")
    assert len(collect_figures(published.load_published_rows(), cache)) > 1000
    judge_claims(load_claims(), Evidence(counts=cache, speeds=SpeedStore(tmp_path)))
    assert counted == []


@pytest.mark.parametrize("entry", ["resnet101", "mobilenet_v2", "resnet18"])
def test_counts_of_the_literature_are_those_of_the_code(entry: str) -> None:
    """A sample, counted again: one network per backbone."""
    known = shipped_counts.read_shipped_overheads()
    assert known is not None
    key = next(key for key in known.literature_counts if f'"backbone": "{entry}"' in key)
    tree, size, classes, frames = key.rsplit(" ", 3)
    assert frames == "None"
    counts = count_recipe(Recipe(model=Model(**json.loads(tree))), InputSpec(int(classes), (int(size), int(size))))
    for name, count in known.literature_counts[key].items():
        assert getattr(counts, SHIPPED_NAMES[name]) == count


def test_counting_is_told_and_survives_an_interruption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each network is named before it is counted; what was counted before Ctrl-C is kept."""
    told: list[str] = []

    def interrupt(network: str) -> None:
        told.append(network)
        if len(told) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(count_cache, "_find_shipped_count", lambda *network: None)
    monkeypatch.setattr(count_cache, "_count_now", lambda *network: 5)
    rows = [row for row in published.load_published_rows() if row.backbone == "resnet20"]
    file = tmp_path / "counts.json"
    with pytest.raises(KeyboardInterrupt):
        collect_figures(rows, CountCache(file, report_network=interrupt))
    assert told[0].startswith("counting resnet20")
    assert len(json.loads(file.read_text())["counts"]) == 1


@pytest.mark.parametrize("part", ["measure/flops.py", "backbones/resnet.py", "attention/ops.py", "model/network.py"])
def test_the_shared_code_is_what_counts_depend_on(tmp_path: Path, part: str) -> None:
    """Code changes the hash, a comment does not."""
    for name in ("attention", "backbones", "measure", "recipe", "model"):
        shutil.copytree(PACKAGE / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PACKAGE / "seeds.py", tmp_path / "seeds.py")
    before, text = shipped_counts.hash_shared_code(tmp_path), (tmp_path / part).read_text(encoding="utf-8")
    for extra, is_same in (("# said\n", True), ("extra = 1\n", False)):
        (tmp_path / part).write_text(text + extra, encoding="utf-8")
        assert (shipped_counts.hash_shared_code.__wrapped__(tmp_path) == before) == is_same


def test_a_damaged_or_later_file_is_none(tmp_path: Path) -> None:
    """Then everything is counted."""
    for text in ("", "[]", '{"format": 1}', '{"format": 2}', '{"format": 1, "speeds": [{"ratio": 1}]}'):
        path = tmp_path / f"{len(text)}.json"
        path.write_text(text)
        assert shipped_counts.read_shipped_overheads(path) is None
    assert shipped_counts.read_shipped_overheads(tmp_path / "missing") is None


def test_the_file_is_listed() -> None:
    """With its mechanisms and how many of its figures hold here."""
    row = next(row for row in line("results", "ls", "--json").json() if row["name"] == shipped_counts.FILE_NAME)
    assert (row["kind"], row["mechanisms"]) == ("overheads", len(attention.mechanism_names()))
    assert 0 <= row["current"] <= row["mechanisms"]
    assert row["backbone"] == ", ".join(sorted(USUAL_IMAGES))
