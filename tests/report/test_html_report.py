"""The report: one page that needs nothing beside it, with every claim, every run and its chart."""

import itertools
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from attncli.analysis.count_cache import CountCache
from attncli.claims import claim_files, judge
from attncli.claims.evidence import gather_evidence
from attncli.literature import published
from attncli.records import Epoch, append_record
from attncli.report import charts, svg
from attncli.report.html_report import render_html
from attncli.report.report_data import gather_report_data, render_markdown
from tests.claims.case import claims_file, pairs, run

CHECK = "top1(resnet20 + eca) > top1(resnet20)"


class Reader(HTMLParser):
    """Notes elements that are opened and not closed, and everything a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        """An element begins."""
        self.fetched += [v for k, v in attrs if k in ("src", "href", "xlink:href") and not str(v).startswith("#")]
        self.fetched += [tag] if tag in ("link", "img", "iframe", "object", "embed") else []
        if tag not in ("meta", "input", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        """An element without content."""

    def handle_endtag(self, tag):
        """An element ends, the one that began last."""
        assert self.open.pop() == tag

    def handle_data(self, data):
        """Text."""
        self.text += data


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The contents of a report on three seeds of two networks, and claims with odd texts."""
    folder = tmp_path_factory.mktemp("report")
    runs = folder / "runs"
    pairs(runs, "eca", [0.91, 0.92, 0.90], [0.90, 0.905, 0.893])
    for run_folder in runs.iterdir():
        for i in (1, 2):
            epoch = Epoch(epoch=i, train_loss=1, lr=1, train_images_per_s=1, train_seconds=1, val_top1=0.4 * i)
            append_record(run_folder, epoch)
    path = claims_file(folder, CHECK, "params(resnet20) < 1M")
    path.write_text(path.read_text().replace("it is so", "<b>a & b</b>"))
    known = claim_files.read_claim_files([path])
    evidence = replace(gather_evidence(runs), counts=CountCache(folder / "counts.json"))
    few = [row for row in published.load_published_rows() if row.attn == "eca" and row.backbone == "resnet20"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(published, "load_published_rows", lambda: few)
        return gather_report_data(
            runs, judge.judge_claims(known, evidence), evidence, report_commands=["attncli report"]
        )


def test_the_page_needs_nothing_beside_it(found):
    """Well-formed, nothing fetched, texts escaped."""
    page = render_html(found)
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    assert reader.fetched == []
    assert "url(" not in page
    assert "@import" not in page
    assert "<b>a & b</b>" in reader.text
    assert "prefers-color-scheme: dark" in page


def test_the_page_tells_all(found):
    """Claims, runs, the recipe, the commands, figures in print."""
    reader = Reader()
    reader.feed(render_html(found))
    for words in ("c0", "c1", "digits, resnet20", "batch_size: 128", "attncli report", "91.00", "Published figures"):
        assert words in reader.text
    assert reader.text.count("attncli run ") >= 6


def test_charts_are_whole(found):
    """Each is XML of its own, with a point or a line for every variant, and every colour class is in the sheet."""
    drawn = [
        charts.draw_forest(found.rows),
        charts.draw_cost_chart(found.rows, lambda r: r.params_pct or float(r.attn != "none"), "parameters"),
        charts.draw_learning_curves(found.rows, next(iter(found.epochs.values()))),
    ]
    marks = [sum(e.tag in ("circle", "polyline") for e in ET.fromstring(chart).iter()) for chart in drawn]
    assert marks == [1, 2, 2]
    sheet = render_html(found)
    for place in range(svg.COLOURS + 2):
        assert f".{charts.series_class(place)} {{ stroke" in sheet


def test_charts_of_nothing_are_empty(tmp_path):
    """No baseline, no cost, no epochs: no chart."""
    from attncli.analysis import results
    from attncli.analysis.compare import compare_variants

    run(tmp_path, attn="eca", seed=0, top1=0.9)
    rows = compare_variants(results.read_result_rows(tmp_path))
    assert charts.draw_forest(rows) == ""
    assert charts.draw_cost_chart(rows, lambda r: r.train_ratio, "time") == ""
    assert charts.draw_learning_curves(rows, {"eca": [[]]}) == ""


def test_markdown(found):
    """The same as tables."""
    text = render_markdown(found)
    assert "| c0 | accuracy | " in text
    assert "### digits, resnet20" in text
    assert "2 claims: 2 hold" in text


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-3.2, 0.4), (77.1, 78.3), (0.0, 20000.0), (1e-5, 3e-5)])
def test_ticks_are_round_and_told_apart(low, high):
    """Two to eight of them, within the scale, each with another label."""
    scale = svg.AxisScale(low, high, 0.0, 100.0)
    ticks = list(scale.tick_values())
    assert 2 <= len(ticks) <= 8
    assert all(low - 1e-9 <= t <= high + 1e-9 for t in ticks)
    assert len({f"{t:.{scale.count_digits()}f}" for t in ticks}) == len(ticks)


def test_names_do_not_touch():
    """Levels are moved apart around their middle, their order kept."""
    moved = svg.separate_levels([10.0, 11.0, 12.0, 90.0])
    assert all(b - a >= 13.9 for a, b in itertools.pairwise(moved))
    assert sum(moved[:3]) / 3 == pytest.approx(11.0)
    assert moved[3] == 90.0
