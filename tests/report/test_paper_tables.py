"""Tables for a paper: LaTeX, chosen columns, standard deviations, sorted rows; sites and their parameters."""

from pathlib import Path

import pytest

from attncli.measure.overhead import Overhead
from attncli.records import Cost
from attncli.report.overhead import render_absolute_overheads
from attncli.report.table import Column, render_latex_table
from tests.claims.case import pairs, run
from tests.commands.line import line, refused

TOP1, PLAIN = (0.90, 0.92, 0.94), (0.89, 0.92, 0.92)


@pytest.fixture(autouse=True)
def _runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pairs(Path("runs"), "eca", TOP1, PLAIN)


def test_latex_has_the_rules_of_booktabs_and_escapes() -> None:
    """Special letters are escaped, ± and signs are mathematics, alignment follows the columns."""
    columns = [
        Column[tuple[str, str]]("a_b", lambda r: r[0], right=False),
        Column[tuple[str, str]]("%", lambda r: r[1]),
    ]
    text = render_latex_table(columns, [("se & eca", "91.0 ±2.0"), ("none", "-1.5"), ("<a^b>", "~")], comment="digits")
    assert text.splitlines() == [
        "% digits", r"\begin{tabular}{lr}", r"\toprule", r"a\_b & \% \\", r"\midrule",
        r"se \& eca & 91.0 $\pm$ 2.0 \\", r"none & $-$1.5 \\", r"$<$a\^{}b$>$ & $\sim$ \\",
        r"\bottomrule", r"\end{tabular}",
    ]  # fmt: skip


def test_a_paper_table_has_means_and_standard_deviations() -> None:
    """Latex prints ± the standard deviation (2 points for 90, 92, 94), the terminal half the interval."""
    text = line("compare", "--format", "latex", "--columns", "attention,top1,top5", "--no-plot").out
    assert r"eca & 92.00 $\pm$ 2.00 & 99.00 $\pm$ 0.00 \\" in text
    assert r"\toprule" in text
    interval = line("compare", "--columns", "attention,top1", "--no-plot").out
    assert "92.00 ±4.97" in interval  # 4.303 * 2 / sqrt(3)
    assert "92.00 ±2.00" in line("compare", "--columns", "attention,top1", "--spread", "sd", "--no-plot").out
    assert line("compare", "--columns", "top1", "--no-plot").out == interval  # a row always has its name
    refused(line("compare", "--columns", "topp1", "--no-plot"), "'top1'")


@pytest.mark.parametrize("format_", ["latex", "markdown"])
def test_unequal_seeds_are_told(format_: str) -> None:
    """If a variant lacks a seed and no column shows it, a line does."""
    arguments = ("compare", "--format", format_, "--no-plot", "--columns")
    assert "seeds:" not in line(*arguments, "attention,top1").out
    run(Path("runs"), attn="none", seed=3, top1=0.9, planned=3)
    assert "seeds: none 4, eca 3/4" in line(*arguments, "attention,top1").out
    assert "seeds:" not in line(*arguments, "attention,n,top1").out


def test_everything_after_plus_minus_is_of_one_kind() -> None:
    """Differences of a paper's table have the spread of the differences too, and the text beside it says which."""
    [row] = [r for r in line("compare", "--json", "--no-plot").json() if r["attn"] == "eca"]
    deviations = line("compare", "--columns", "diff", "--spread", "sd", "--no-plot").out
    assert f"{100 * row['diff']:+.2f} ±{100 * row['diff_sd']:.2f}" in deviations
    intervals = line("compare", "--columns", "diff", "--no-plot").out
    assert f"{100 * row['diff']:+.2f} ±{100 * (row['diff_joint_high'] - row['diff']):.2f}" in intervals
    assert "standard deviation" in deviations
    assert "standard deviation" not in intervals
    assert "standard deviation" in line("compare", "--format", "latex", "--no-plot").out.splitlines()[0]


def test_top5_is_in_every_format() -> None:
    """JSON and CSV carry mean and spread; Markdown has the column."""
    rows = line("compare", "--json", "--no-plot").json()
    assert [row["top5"] for row in rows] == [pytest.approx(0.99)] * 2
    assert rows[0]["top5_sd"] == pytest.approx(0)
    assert {"top5", "top5_sd", "latency_ms", "params", "macs"} <= set(
        line("compare", "--format", "csv", "--no-plot").out.splitlines()[0].split(",")
    )
    assert "| top-5 |" in line("compare", "--format", "markdown", "--columns", "attention,top5", "--no-plot").out


def test_rows_are_sorted_on_request() -> None:
    """By name, the plain network first; by accuracy the best mechanism after it."""
    pairs(Path("runs"), "se", (0.95, 0.96, 0.97), ())
    for key, order in (("attention", ["none", "eca", "se"]), ("top1", ["none", "se", "eca"])):
        text = line("compare", "--sort", key, "--columns", "attention", "--format", "markdown", "--no-plot").out
        shown = [row.split("|")[1].strip() for row in text.splitlines() if row.startswith("| ")][1:]
        assert [name for name in shown if name in order] == order


def test_absolute_figures_of_a_measurement() -> None:
    """269,722 weights of resnet20 in millions, and what a mechanism adds, in LaTeX and CSV; misfits in CSV only."""
    cost = Cost(
        params=269_749, baseline_params=269_722, macs=41_000_000, baseline_macs=40_000_000, elementwise=1,
        baseline_elementwise=1, activation_bytes=1, baseline_activation_bytes=1, image_size=32,
    )  # fmt: skip
    rows = [
        Overhead("eca", "resnet20", "channel", "gate", cost),
        Overhead("tam", "resnet20", "temporal", "frames", problem="needs clips"),
    ]
    text = render_absolute_overheads(rows, "latex")
    assert r"eca & 0.2697 & $+$27 & 0.0410 & $+$1,000,000 & - \\"[:-2] in text
    assert "tam" not in text
    assert "269749" in render_absolute_overheads(rows, "csv")
    assert "tam" in render_absolute_overheads(rows, "csv")


def test_every_site_is_listed_with_its_parameters() -> None:
    """eca in resnet20: nine blocks, kernels of 3 everywhere, 27 weights; stages and channels of the paper."""
    listed = line("sites", "--attn", "eca", "--backbone", "resnet20", "--image-size", "32", "--json").json()
    assert [(row["stage"], row["channels"], row["params"]) for row in listed["sites"]] == [
        (stage, channels, 3) for stage, channels in ((1, 16), (2, 32), (3, 64)) for _ in range(3)
    ]
    assert [row["map"] for row in listed["sites"]][::3] == ["32x32", "16x16", "8x8"]
    assert listed["stages"][-1] == {"stage": "all", "sites": 9, "params": 27}
    refused(line("sites", "--attn", "none", "--backbone", "resnet20"), "none")
