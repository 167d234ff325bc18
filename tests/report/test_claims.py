"""Verdicts in words: within 80 columns, figures that tell what decides."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from attncli.analysis.count_cache import CountCache
from attncli.claims import claim_files, judge
from attncli.claims.evidence import Evidence
from attncli.claims.language import parse_claim
from attncli.claims.throughput import SpeedStore
from attncli.claims.verdict import CountedOutcome, TimedOutcome, TrainedOutcome
from attncli.report import claims as report
from attncli.report import table
from attncli.runs import RunStore, read_finished_runs
from tests.claims.case import claims_file, pairs
from tests.commands.line import line

CHECKS = (
    "top1(resnet20 + eca) > top1(resnet20)",
    "top1(resnet20 + eca) > top1(resnet20) - 0.5 %",
    "top1(resnet20 + se) > top1(resnet20)",
    "params(resnet20 + eca) - params(resnet20) == 27 and params(resnet20) < 1M",
)


@pytest.fixture
def verdicts(tmp_path):
    """Two tested, one untested, one counted."""
    runs = tmp_path / "runs"
    pairs(runs, "eca", [0.913, 0.905, 0.921, 0.908], [0.903, 0.900, 0.912, 0.906])
    known = claim_files.read_claim_files([claims_file(tmp_path, *CHECKS, on="cifar10")])
    return judge.judge_claims(known, Evidence(CountCache(), SpeedStore(runs), read_finished_runs(RunStore(runs))))


def test_the_table_fits(verdicts):
    """No line but a command above 80 columns, every claim, a count of each verdict, the command of what is untested."""
    text = report.render_verdicts(verdicts, 80)
    assert max(len(line) for line in text.splitlines() if "attncli claims run" not in line) <= 80
    assert "attncli claims run c2" in text
    assert "27; 269,722 < 1,000,000" in text
    assert "4 claims: 1 holds, 2 carry over, 1 untested" in text


def test_claims_that_no_run_decides(tmp_path, monkeypatch):
    """The file of the test that shows a claim, and the whole reason of an untestable one, slashes and colons too."""
    path = tmp_path / "eca.yaml"
    path.write_text(
        "- {id: a, kind: property, text: t, source: s, test: 'tests/attention/test_x.py::test_y'}\n"
        "- {id: b, kind: note, text: t, source: s, untestable: 'of and/or, written as x::y'}\n"
    )
    monkeypatch.setattr(claim_files, "CLAIMS_FOLDER", tmp_path)
    evidence = Evidence(CountCache(), SpeedStore(tmp_path / "runs"))
    shown, untestable = judge.judge_claims(claim_files.read_claim_files([path]), evidence)
    assert report.format_verdict_figures(shown) == "test_x.py"
    assert report.format_verdict_figures(untestable) == "of and/or, written as x::y"


def test_the_difference_is_told_with_its_bound(verdicts):
    """In points, with half its interval, the number of pairs and the corrected p."""
    assert report.format_verdict_figures(verdicts[1]).startswith("+0.65 ±0.59 against -0.50, n 4; p .0")


def test_details_have_the_evidence(verdicts):
    """Where it was claimed, where tested, which runs, with what power, what next."""
    text = report.render_details(verdicts[0], 80)
    assert max(map(len, text.splitlines())) <= 80
    for words in ("on another dataset: digits", "(claimed on cifar10)", "seeds 0, 1, 2, 3", "id-eca-0", "two-sided"):
        assert words in " ".join(text.split())
    assert all(digest in text for digest in verdicts[0].parts[0].digests)


def test_the_number_of_claims_behind_a_p_value_is_told(tmp_path, monkeypatch):
    """A file of one claim is corrected for that one alone, also if others were looked at before."""
    monkeypatch.chdir(tmp_path)
    pairs(Path("runs"), "eca", (0.71, 0.72, 0.70), (0.70, 0.71, 0.705), data__name="cifar10")
    checks = ("top1(resnet20 + eca) > top1(resnet20)", "top1(resnet20 + eca) < top1(resnet20)")
    counted = {}
    for count in (1, 2):
        file = claims_file(tmp_path, *checks[:count], name=str(count), on="cifar10")
        counted[count] = line("claims", "--file", str(file)).out
        assert {claim["family"] for claim in line("claims", "--file", str(file), "--json").json()} == {count}
        assert f"corrected for {count} claim" in line("claims", "c0", "--file", str(file)).out
    assert "p values corrected for 1 claim" in " ".join(counted[1].split())
    assert "p values corrected for 2 claims" in " ".join(counted[2].split())


def test_csv_has_a_row_a_claim(verdicts):
    """Readable by a program, with the command."""
    rows = list(csv.DictReader(io.StringIO(table.render_csv(report.list_csv_rows(verdicts)))))
    assert [row["verdict"] for row in rows] == [v.outcome for v in verdicts]
    assert rows[2]["command"].startswith("attncli claims run c2 --file ")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (27, "27"),
        (25557032.0, "25,557,032"),
        (0.01401, "0.01401"),
        (1.00002, "1.00002"),
        (None, "-"),
        (float("inf"), "unbounded"),
    ],
)
def test_numbers(value, text):
    """Whole ones in full, others to four digits, or to what tells them from a whole one."""
    assert report.format_number(value) == text


def test_a_small_interval_is_not_printed_as_none():
    """Half an interval below 0.005 points has the digits that it needs."""
    part = TrainedOutcome(
        **read_comparison("top1(a) > top1(b)"),
        outcome="holds",
        left=0.9,
        right=0.8,
        difference=0.1,
        low=0.09998,
        high=0.10002,
        n=5,
    )
    assert report.format_part_figures(part) == "+10.00 ±0.002, n 5"


def read_comparison(text: str) -> dict[str, Any]:
    """The text of a comparison, and its right half as an outcome has it."""
    ((_, link),) = parse_claim(text).link_pairs()
    return {"text": text, "link": link}


@pytest.mark.parametrize(
    ("text", "figures"),
    [
        ("latency(a) / latency(b) < 0.7", "0.5 (0.48 to 0.51) < 0.7"),
        ("latency(a) / latency(b) <= 7e-1", "0.5 (0.48 to 0.51) <= 0.7"),
        ("latency(a) / latency(b) ~ 0.7 +- 10 %", "0.5 ~ 0.7 ±10 % (difference -0.22 to -0.19)"),
        ("latency(a) < latency(b)", "0.5 < 0.7 (difference -0.22 to -0.19)"),
    ],
)
def test_a_ratio_has_its_interval(text: str, figures: str) -> None:
    """Against a number the ratio's own interval is told, else that of the difference."""
    part = TimedOutcome(**read_comparison(text), outcome="holds", left=0.5, right=0.7, low=-0.22, high=-0.19, n=9)
    assert report.format_part_figures(part) == figures


def test_a_count_has_its_tolerance() -> None:
    """As the claim writes it."""
    text = "macs(a) - macs(b) ~ 10M +- 5M"
    about = CountedOutcome(**read_comparison(text), outcome="holds", left=5_892_096, right=10_000_000)
    assert report.format_part_figures(about) == "5,892,096 ~ 10,000,000 ±5M"
