"""The report: one page that needs nothing beside it, with every claim, every run and its chart."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from attncli.analysis.count_cache import CountCache
from attncli.claims import claim_files, judge
from attncli.claims.evidence import Evidence, gather_evidence
from attncli.claims.throughput import SpeedStore
from attncli.claims.verdict import OUTCOMES
from attncli.literature import published
from attncli.records import Epoch, append_record
from attncli.report.comparison_remarks import list_remarks
from attncli.report.html_report import FOLDER, _mark_code, choose_captions, draw_charts, render_html
from attncli.report.report_data import gather_report_data, render_markdown
from attncli.runs import FailedRun, RunStore, read_folder_runs
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
        if tag not in ("meta", "input", "br", "wbr"):
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
def report_data(tmp_path_factory):
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
    evidence = replace(gather_evidence(RunStore(runs)), counts=CountCache())
    few = [row for row in published.load_published_rows() if row.attn == "eca" and row.backbone == "resnet20"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(published, "load_published_rows", lambda: few)
        return gather_report_data(
            [f"the folder {runs}"], judge.judge_claims(known, evidence), evidence, report_commands=["attncli report"]
        )


def test_planned_and_failed_seeds_count_as_in_compare(tmp_path, monkeypatch):
    """A plan that is not finished allows no verdict, a failed seed neither, and hiding mechanisms changes neither."""
    monkeypatch.setattr(published, "load_published_rows", list)
    for attn, accuracies in (("none", (0.90, 0.905, 0.893)), ("eca", (0.91, 0.92, 0.90)), ("se", (0.92, 0.93, 0.91))):
        for seed, top1 in enumerate(accuracies):
            run(tmp_path, attn=attn, seed=seed, top1=top1)
    store = RunStore(tmp_path)
    evidence = gather_evidence(store)
    eca = next(r for r in evidence.runs if r.result.attn == "eca")
    recipe = eca.recipe.model_copy(update={"seed": 3})
    failure = FailedRun(recipe=recipe, digest=recipe.compute_digest(), group=eca.result.group)

    def gather_rows(attn=(), **changes):
        report = gather_report_data(["runs"], [], replace(evidence, **changes), attn=attn, report_commands=[])
        return {row.attn: row for row in report.rows}

    assert gather_rows(planned_seeds=5)["eca"].level is None
    assert gather_rows(planned_seeds=3)["eca"].level is not None
    rows = gather_rows(planned_seeds=3, failures=[failure])
    assert rows["eca"].failed_seeds == (3,)
    assert rows["eca"].verdict.startswith("not judged: 1 of 4 seeds failed")
    assert rows["se"].failed_seeds == ()
    assert gather_rows(planned_seeds=3)["eca"].p == gather_rows(("eca",), planned_seeds=3)["eca"].p
    assert gather_rows(("eca",)).keys() == {"none", "eca"}


def test_a_plain_network_without_the_mechanism_is_not_shown(tmp_path, monkeypatch):
    """Of two recipes the report on eca has the one in which eca was trained, with its plain network."""
    monkeypatch.setattr(published, "load_published_rows", list)
    for attn, lr in (("none", 0.1), ("eca", 0.1), ("none", 0.3), ("se", 0.3)):
        run(tmp_path, attn=attn, seed=0, top1=0.9, train__lr=lr)
    evidence = gather_evidence(RunStore(tmp_path))
    reports = {name: gather_report_data(["runs"], [], evidence, attn=[name]) for name in ("eca", "none")}
    learning_rates = {
        name: sorted((row.attn, row.runs[0].recipe.train.lr) for row in report.rows) for name, report in reports.items()
    }
    assert learning_rates == {"eca": [("eca", 0.1), ("none", 0.1)], "none": [("none", 0.1), ("none", 0.3)]}
    assert len(reports["eca"].origins) == 1


def test_untracked_runs_of_one_digest_keep_their_own_curves(tmp_path, monkeypatch):
    """Two people did the same recipes in other precisions, without MLflow: each table has its own runs' epochs."""
    monkeypatch.setattr(published, "load_published_rows", list)
    found = []
    for precision, val_top1 in (("fp32", 0.25), ("bf16", 0.75)):
        for attn in ("none", "eca"):
            run(tmp_path / precision, attn=attn, seed=0, top1=0.5)
        for own in read_folder_runs(tmp_path / precision):
            epoch = Epoch(epoch=1, train_loss=1, lr=1, train_images_per_s=1, train_seconds=1, val_top1=val_top1)
            append_record(own.folder, epoch)
            machine = {"cpu": f"a processor for {precision}"}
            found.append(replace(own, result=replace(own.result, run_id=None, precision=precision, machine=machine)))
    evidence = Evidence(CountCache(), SpeedStore(tmp_path), found)
    report = gather_report_data(["runs"], [], evidence)
    assert len({own.reference for own in found}) == 2
    curves = {
        title: {epoch.val_top1 for runs in by_variant.values() for epochs in runs for epoch in epochs}
        for title, by_variant in report.epochs.items()
    }
    assert sorted(curves.values(), key=str) == [{0.25}, {0.75}]
    for title, origin in report.origins.items():
        (precision,) = [name for name, value in (("fp32", 0.25), ("bf16", 0.75)) if curves[title] == {value}]
        assert [f"a processor for {precision}" in text for text in origin.machines] == [True]
        assert all(precision in command for command in origin.commands)


def read_page(report_data) -> Reader:
    """A reader that has read the page."""
    reader = Reader()
    reader.feed(render_html(report_data))
    return reader


def test_the_page_needs_nothing_beside_it(report_data):
    """Well-formed, nothing fetched, texts escaped."""
    page, reader = render_html(report_data), read_page(report_data)
    assert reader.open == []
    assert reader.fetched == []
    assert "url(" not in page
    assert "@import" not in page
    assert "<b>a & b</b>" in reader.text
    assert "prefers-color-scheme: dark" in page


def test_the_page_has_every_part(report_data):
    """Claims, runs, the recipe, the commands, published figures."""
    text = read_page(report_data).text
    for words in ("c0", "c1", "digits, resnet20", "batch_size: 128", "attncli report", "91.00", "Published figures"):
        assert words in text
    assert text.count("attncli run ") >= 6


def test_charts_stand_in_the_page_with_their_captions(report_data):
    """Differences, two costs and learning curves; nothing was timed, so there is no chart of training time."""
    names = [chart.name for chart in draw_charts(report_data.rows, next(iter(report_data.epochs.values())))]
    assert names == [
        "Difference to the plain network",
        "Accuracy against parameters",
        "Accuracy against MACs",
        "Learning curves",
    ]
    page, reader = render_html(report_data), read_page(report_data)
    assert page.count("<svg ") == len(names)
    assert all(name in reader.text for name in names)


def test_ones_own_runs_come_before_the_claims(report_data):
    """The counts of claims stand with the claims; the title is the user's, if there is one."""
    page = render_html(replace(report_data, title="My <title>", claims_title="Claims"))
    assert page.index("id=runs") < page.index("id=claims") < page.index("class=tiles")
    assert "<h1>My &lt;title&gt;</h1>" in page
    assert "<h2 id=claims>Claims</h2>" in page


def test_remarks_stand_with_their_table(report_data):
    """The page says what the table of a terminal says: how many variants were tested, what a mark at a speed means."""
    rows = [replace(row, train_ratio=0.5, train_limit="host") for row in report_data.rows]
    text = read_page(replace(report_data, rows=rows)).text
    assert "0.50*" in text
    remarks = list_remarks(rows)
    assert len(remarks) > 1
    assert all(remark in text for remark in remarks)


def test_captions_promise_no_interval_of_one_seed(report_data):
    """An interval is named only if there are seeds to take it over."""
    single = [replace(row, accuracy=replace(row.accuracy, n=1)) for row in report_data.rows]
    several, one = choose_captions(report_data.rows), choose_captions(single)
    assert ["interval" in caption for caption in several] == [True, True, False]
    assert not any("interval" in caption or "seeds" in caption for caption in one)
    unpaired = [
        row if row.difference is None else replace(row, difference=replace(row.difference, n=1))
        for row in report_data.rows
    ]
    assert ["interval" in caption for caption in choose_captions(unpaired)] == [False, True, False]


def test_commands_in_notes_are_code(report_data):
    """No backtick is shown; what stands between two is code, and all text is escaped."""
    page = render_html(report_data)
    notes = re.findall(r"<p class=soft>(.*?)</p>", page, re.DOTALL)
    assert any("<code>attncli help statistics</code>" in note for note in notes)
    assert not any("`" in note for note in notes)
    assert _mark_code("n < 2 `a&b`") == "n &lt; 2 <code>a&amp;b</code>"


def test_charts_have_the_colours_of_the_page(report_data):
    """Every colour of a chart is a variable with a value for light and one for dark."""
    sheet = (FOLDER / "page.css").read_text()
    light, dark = sheet.split("@media (prefers-color-scheme: dark)")
    for chart in draw_charts(report_data.rows, next(iter(report_data.epochs.values()))):
        variables = set(re.findall(r"var\((--\w+)\)", chart.svg))
        assert {"--ink", "--line"} <= variables
        assert all(f"{name}:" in light and f"{name}:" in dark for name in variables)
        assert re.findall(r"#[0-9a-f]{3,6}\b", chart.svg) == []


def test_no_two_elements_share_an_id(report_data):
    """Figures of one page do not refer to each other's shapes."""
    ids = re.findall(r'\bid="?([^" >]+)', render_html(report_data))
    assert len(ids) == len(set(ids))


def test_markdown(report_data):
    """The same as tables."""
    text = render_markdown(report_data)
    assert "| c0 | accuracy | " in text
    assert "### digits, resnet20" in text
    assert "2 claims: 2 hold" in text


def test_each_verdict_filters_its_own_claims(report_data):
    """A button's value is a class of the claims with its verdict and of no other, and the class has a color."""
    first = report_data.verdicts[0]
    page = render_html(replace(report_data, verdicts=[replace(first, outcome=outcome) for outcome in OUTCOMES]))
    buttons = dict(re.findall(r'<button value="([^"]*)"[^>]*>([^<]*)<', page))
    claims = re.findall(r'<details class="claim ([^"]*)">.*?<span class=badge>([^<]*)<', page, re.DOTALL)
    shown = {
        text: [outcome for classes, outcome in claims if value in classes.split()] for value, text in buttons.items()
    }
    assert shown == {outcome: [outcome] for outcome in OUTCOMES}
    colored = set(re.findall(r"\.([\w-]+)(?=[^{}]*\{ --tone:)", (FOLDER / "page.css").read_text()))
    assert set(buttons) == colored
