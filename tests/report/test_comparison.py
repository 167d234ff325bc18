"""Facts of the comparison's table: it fits a terminal, and says what the rows say."""

import json
import re
from dataclasses import replace

import pytest

from attncli.analysis import stats
from attncli.analysis.compare import compare_variants
from attncli.report import comparison, comparison_cells
from attncli.report.comparison_columns import choose_columns, list_columns
from attncli.report.comparison_remarks import list_remarks
from tests.analysis.case import BASELINE, finished, finished_pairs

COSTS = {"params": 1.102 * BASELINE, "macs": 1.0000016 * BASELINE, "train_ratio": 0.934}


def rows(name="self-attention"):
    """A comparison of five seeds, and a variant of one seed."""
    plain = [0.90, 0.80, 0.85, 0.95, 0.91]
    runs = finished_pairs(name, [p + d for p, d in zip(plain, [0.01, 0.012, 0.009, 0.011, 0.008], strict=True)], plain)
    runs[0] = replace(runs[0], result=replace(runs[0].result, **COSTS))
    return compare_variants([*runs, finished("eca", 0, 0.89)])


def test_fits_eighty_columns():
    """The widest figures beside a long name keep within 80 columns, headings and verdicts too."""
    found = comparison.render_comparison(rows("self-attention-of-my-own"))
    assert max(map(len, found.splitlines())) <= 80
    assert "+1.00 ±0." in found
    assert "self-attention-of-my-own: better" in " ".join(found.split())


def test_one_seed_has_no_interval():
    """A single run is a figure without ±, a difference without p."""
    [line] = [t for t in comparison.render_comparison(rows()).splitlines() if t.strip().startswith("eca ")]
    assert "±" not in line
    assert line.split()[1:5] == ["1/5", "89.00", "-1.00", "-"]


@pytest.mark.parametrize("planned", [None, 3, 8])
def test_the_text_tells_the_confidence_of_the_intervals(planned):
    """A late look, and one without a plan, has a stricter level than 5 %, so its interval is longer than that of 95 %.

    The interval of a single variant is Student's.
    """
    gains = [0.010, 0.012, 0.009, 0.011, 0.008, 0.013, 0.010, 0.009]
    runs = finished_pairs("eca", [0.8 + gain for gain in gains], [0.8] * 8)
    runs = [replace(run, result=replace(run.result, planned_seeds=planned)) for run in runs]
    text = " ".join(comparison.render_comparison(compare_variants(runs)).split())
    half = float(re.search(r"\+1\.\d+ ±(\d\.\d+)", text)[1])
    confidence = float(re.search(r"differences are of ([\d.]+) %", text)[1])
    expected = stats.estimate_mean([100 * gain for gain in gains], level=confidence / 100)
    assert half == pytest.approx(expected.high - expected.mean, abs=0.006)


def test_what_a_row_counts_is_named():
    """Runs of folds are several to a seed: n counts them, not seeds."""
    runs = [
        finished(attn, seed, 0.9 + 0.01 * fold, data__folds=3, data__fold=fold)
        for attn in ("none", "eca")
        for seed in (0, 1)
        for fold in range(3)
    ]
    text = comparison.render_comparison(compare_variants(runs))
    assert [line.split()[1] for line in text.splitlines() if line.strip().startswith("eca ")] == ["6"]
    assert ("n folds" in text, "n seeds" in text) == (True, False)


def test_costs():
    """Overheads in percent with the digits they need, speeds as a ratio."""
    [line] = [t for t in comparison.render_comparison(rows()).splitlines() if t.strip().startswith("self-attention ")]
    assert line.split()[-4:] == ["+10.2", "+0.0002", "0.93", "-"]


def test_seeds_that_are_not_shared_are_told():
    """Where the difference rests on fewer seeds than the mean, it says on how many."""
    found = comparison.render_comparison(
        compare_variants([finished("eca", 0, 0.9), finished("eca", 1, 0.8), finished("none", 0, 0.85)])
    )
    assert "+5.00 (1)" in found


def test_a_part_of_a_dataset_is_told():
    """Runs on two classes have a table of their own, whose title names them; all of the dataset has no such words."""
    runs = [finished(attn, data__classes=classes) for attn in ("none", "eca") for classes in (2, None)]
    titles = [title for title, _ in comparison.group_comparison_rows(compare_variants(runs))]
    assert sorted("classes=2" in title.partition("resnet18")[0] for title in titles) == [False, True]


def test_variants_with_kernels_of_their_own_are_told():
    """What stands in place of convolutions shares fewer weights with the plain network of its seed than a gate does."""
    texts = {name: comparison.render_comparison(rows(name)) for name in ("sk", "eca")}
    assert {name: "sk: kernels drawn anew" in text for name, text in texts.items()} == {"sk": True, "eca": False}
    kept = comparison.render_comparison(rows("dcn"))
    assert ("dcn: kernels drawn anew" in kept, "dcn: starts with the plain network's kernels" in kept) == (False, True)


def test_variants_whose_branches_start_at_zero_are_told():
    """Their plain network starts otherwise, so a difference may come from the start alone."""
    texts = {name: comparison.render_comparison(rows(name)) for name in ("halo", "eca")}
    told = {name: "model.zero_init_residual" in text for name, text in texts.items()}
    assert told == {"halo": True, "eca": False}
    keys = {"model__zero_init_residual": True}  # the recipe starts the branches of both alike
    alike = compare_variants([finished("halo", **keys), finished("none", **keys)])
    assert "residual branches start at zero" not in comparison.render_comparison(alike)


@pytest.mark.parametrize(
    ("keys", "is_zeroed"),
    [
        ({}, True),
        ({"model__backbone": "preactresnet20"}, False),
        ({"model__backbone": "vgg16_bn"}, False),
        ({"model__pretrained": True}, False),
    ],
    ids=["resnet18", "preactresnet20", "vgg16_bn", "pretrained"],
)
def test_branches_that_do_not_start_at_zero_are_not_said_to(keys, is_zeroed):
    """Pretrained weights stay, and networks without a norm at the end of their branches have nothing to set."""
    compared = compare_variants([finished("lambda", **keys), finished("none", **keys)])
    assert ("start at zero" in comparison.render_comparison(compared)) is is_zeroed


def test_same_verdicts_stand_together():
    """Variants with one verdict share its line."""
    found = comparison.render_comparison(compare_variants([finished("eca"), finished("se"), finished("none")]))
    assert "eca, se: undecided, one seed" in found


def test_markdown_and_json_hold_all_rows():
    """Markdown has a table a recipe with the verdicts, JSON every field of every row."""
    two = compare_variants([finished("none"), finished("eca"), finished("none", train__epochs=30)])
    text = comparison.render_comparison(two, "markdown")
    assert text.count("### digits, resnet18 (train.epochs=") == 2
    assert "| baseline |" in text
    found = json.loads(comparison.render_comparison(two, "json"))
    assert [r["variant"] for r in found] == ["none", "eca", "none"]
    assert {"p_holm", "verdict", "top1_low", "run_ids"} <= found[0].keys()
    assert comparison.render_comparison(two, "csv").count("\n") == 3


def test_markdown_has_the_remarks_of_the_terminal():
    """How many variants were tested together, and what images the verdicts are about, as a list."""
    runs = [finished(attn, seed, 0.9, test_images=359) for attn in ("none", "eca") for seed in (0, 1)]
    compared = compare_variants(runs)
    text, remarks = comparison.render_comparison(compared, "markdown"), list_remarks(compared)
    assert len(remarks) > 1
    assert [line.removeprefix("- ") for line in text.splitlines() if line.startswith("- ")] == remarks


def test_small_ps_and_overheads():
    """A p is never shown as zero, an overhead that is there never as none."""
    assert comparison_cells.format_p_value(1e-9) == "<.001"
    assert comparison_cells.format_p_value(0.04) == ".040"
    assert comparison_cells.format_p_value(1.0) == "1"
    assert comparison_cells.format_overhead(0.0) == "0"
    assert comparison_cells.format_overhead(0.0014) == "+0.001"
    assert comparison_cells.format_overhead(-12.34) == "-12.3"
    assert comparison_cells.format_overhead(-0.0003) == "-0.0003"


def test_a_p_stands_on_its_side_of_the_level():
    """Rounding never moves a p value across the level that decides."""
    assert [comparison_cells.format_p_value(p) for p in (0.0496, 0.0504, 0.9996)] == [".0496", ".050", "1"]
    assert comparison_cells.format_p_value(0.01345, level=0.0134) == ".0135"
    late = [comparison_cells.format_p_value(p, level=0.0004) for p in (0.0003, 0.00042, 0.0009)]
    assert late == ["<.001", ".0004", ".001"]  # only the first one decides


def test_an_accuracy_ends_at_one_hundred():
    """An interval that would leave 0 to 100 % is cut there, and both ends are shown."""
    plain = compare_variants([finished("none", 0, 0.99), finished("none", 1, 0.93)])[0]
    assert plain.accuracy.high == 1.0
    assert comparison_cells.format_top1(plain).endswith("to 100.0)")


def test_ratios_that_the_host_limits_are_marked():
    """One run of a variant is enough; the line that explains the mark stands with each table that has it."""
    runs = [finished(a, s, 0.9, train_ratio=0.5, train_limit=limit) for a, s, limit in
            (("eca", 0, "host"), ("eca", 1, "device"), ("none", 0, "device"), ("none", 1, "device"))]  # fmt: skip
    compared = compare_variants(runs)
    assert {row.attn: row.train_limit for row in compared} == {"eca": "host", "none": "device"}
    for format_, mark in (("table", "* the host"), ("markdown", "\n- \\* the host"), ("latex", "; * the host")):
        text = comparison.render_comparison(compared, format_, columns=choose_columns(["train"]))
        assert "0.50*" in text
        assert mark in text
    assert "the host" not in comparison.render_comparison(compared, "latex", columns=choose_columns(["top1"]))


def test_nothing_to_compare():
    """No runs give no table, and no error."""
    assert comparison.render_comparison([], "csv") == ""
    assert comparison.render_comparison([], "json") == "[]"


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({}, "about these 359 test images"),
        ({"data__folds": 5, "data__fold": 3}, "about the test images of 5 folds"),
        ({"data__subset_seed": "run"}, "about these 359 test images"),
        (
            {"data__subset_seed": "run", "data__test_per_class": 36},
            "about the 359 test images that each seed drew",
        ),
    ],
)
def test_the_test_images_are_named(keys, text):
    """Of folds, and of seeds that draw their own, no single number of test images is that of the table."""
    runs = [finished(attn, 0, 0.9, test_images=359, **keys) for attn in ("none", "eca")]
    assert f"{text}\n" in comparison.render_comparison(compare_variants(runs), width=200)


def test_images_without_a_finite_loss_are_told_by_fold():
    """Pair 3 of 5 folds is fold 3 of seed 0; without folds it is seed 3."""
    folds = [finished("eca", 0, 0.9, test_nonfinite=1, data__folds=5, data__fold=3)]
    assert "of seed 0 fold 3" in comparison.render_comparison(compare_variants(folds), width=200)
    assert "of seed 3" in comparison.render_comparison(
        compare_variants([finished("eca", 3, 0.9, test_nonfinite=1)]), width=200
    )


def test_top5_and_f1_end_at_one_hundred():
    """As top-1: an interval that is cut has two ends and no half; its half is 1.12 points and not 0.53."""
    runs = [
        finished("none", seed, 0.9, test_top5=value, test_macro_f1=value)
        for seed, value in enumerate((0.99, 0.999, 0.995))
    ]
    [plain] = compare_variants(runs)
    cells = {name: column.cell(plain) for name, column in list_columns().items()}
    assert cells["top5"] == cells["macro-f1"] == "99.47 (98.3 to 100.0)"
    cells = {name: column.cell(plain) for name, column in list_columns("sd").items()}
    assert cells["top5"] == cells["macro-f1"] == "99.47 ±0.45"
