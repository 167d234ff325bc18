"""The comparison: which runs are compared, and that the verdict never says more than the seeds do."""

import math
import re
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from attncli.analysis.compare import compare_variants
from attncli.commands._comparison_plots import format_plot_name
from attncli.records import recover_test_counts
from attncli.report.comparison import group_comparison_rows
from attncli.report.comparison_cells import format_seed_count
from attncli.report.difference_figures import _holds_zero
from attncli.runs import FailedRun
from attncli.track.predictions import write_predictions
from tests.analysis.case import finished, finished_pairs


def row(rows, variant):
    """Return the row of a variant."""
    return next(r for r in rows if r.variant == variant)


def test_seeds_on_other_images_are_another_variant() -> None:
    """Images that were added between two seeds: no mean over both, and no pair across them."""
    old, new = "a" * 64, "b" * 64
    runs = [finished(attn, seed, data=images) for attn in ("none", "eca") for seed, images in ((0, old), (1, new))]
    rows = compare_variants(runs)
    assert [(row.attn, row.seeds) for row in rows] == [("none", (0,)), ("eca", (0,)), ("none", (1,)), ("eca", (1,))]
    assert {row.recipe for row in rows} == {"data=aaaaaaaa", "data=bbbbbbbb"}
    rows = compare_variants([finished("none", 0, data=old), finished("eca", 0, data=new)])
    assert [row.difference for row in rows] == [None, None]


def test_a_pinned_recipe_pairs_with_an_unpinned_one() -> None:
    """data.content says which images a run has and is no difference of recipes: the digest of the images decides."""
    runs = [finished("none", 0, data="b" * 64), finished("none", 1, data="b" * 64, data__content="sha256:bb")]
    [row] = compare_variants(runs)
    assert row.seeds == (0, 1)
    assert row.recipe == ""


def test_folds_and_seeds_are_pairs() -> None:
    """Runs of k folds are one variant, each paired with the plain run of its seed, fold and images."""
    runs = [
        finished(
            attn, seed, 0.8 + 0.01 * fold + 0.1 * seed + gain, data=f"{seed}{fold}" * 32, data__folds=3, data__fold=fold
        )
        for attn, gain in (("none", 0.0), ("eca", 0.02))
        for seed in (0, 1)
        for fold in (0, 1, 2)
    ]
    plain, eca = compare_variants(runs)
    assert (plain.accuracy.n, eca.accuracy.n, eca.difference.n) == (6, 6, 6)
    assert eca.difference.mean == pytest.approx(0.02)
    assert eca.difference.sd == pytest.approx(0)
    assert (eca.folds, eca.level) == (3, pytest.approx(0.04 / 4))  # two seeds with all of their folds, no plan
    strangers = [replace(run, result=replace(run.result, data_digest="f" * 64)) for run in runs[6:8]]
    _, eca = compare_variants([*runs[:6], *strangers, *runs[8:]])
    assert (eca.accuracy.n, eca.difference.n) == (6, 3)  # seed 0 lacks two folds: the test leaves it out


def test_difference_is_seed_by_seed():
    """Seeds that scatter by points hide nothing when the variant is a point better on each of them."""
    plain = [0.90, 0.80, 0.85, 0.95]
    found = compare_variants(finished_pairs("eca", [0.910, 0.811, 0.859, 0.961], plain))
    eca = row(found, "eca")
    assert (eca.accuracy.n, eca.difference.n) == (4, 4)
    assert eca.difference.mean == pytest.approx(0.01025)
    assert eca.verdict == "better"
    assert eca.p < 0.001
    assert eca.accuracy.low < 0.85 < eca.difference.low + 0.95
    assert row(found, "none").verdict == "baseline"
    assert found[0].attn == "none"


def test_worse():
    """A variant that loses on every seed by the same amount is worse."""
    found = compare_variants(finished_pairs("eca", [0.80, 0.801, 0.799], [0.9, 0.9, 0.9]))
    assert row(found, "eca").verdict == "worse"


def test_one_seed_is_undecided():
    """One pair shows its difference without interval or p, and is never called better."""
    eca = row(compare_variants(finished_pairs("eca", [0.99], [0.5])), "eca")
    assert eca.difference.mean == pytest.approx(0.49)
    assert (eca.difference.low, eca.p, eca.accuracy.low) == (None, None, None)
    assert eca.verdict.startswith("undecided, one seed")


def test_needs_more_seeds():
    """If chance may explain the difference, a range says how many seeds find the margin; the wider, the fewer."""

    def range_for(margin):
        runs = finished_pairs("eca", [0.90, 0.89, 0.92], [0.89, 0.90, 0.90])
        words = row(compare_variants(runs, margin=margin), "eca").verdict.replace(",", "").split()
        assert words[0] == "undecided"
        return int(words[1]), int(words[3])

    (low, high), (wide_low, wide_high) = range_for(0.005), range_for(0.02)
    assert 3 < wide_low < low < high
    assert wide_high < high


def test_thousands_of_seeds_are_separated():
    """As all other counts of a table are."""
    runs = finished_pairs("eca", [0.90, 0.89, 0.92], [0.89, 0.90, 0.90])
    verdicts = [row(compare_variants(runs, margin=m / 1000), "eca").verdict for m in (4, 3, 2.5, 2, 1.5, 1)]
    assert not any(re.search(r"\d{4}", verdict) for verdict in verdicts), verdicts
    assert any(re.search(r"\d,\d{3}", verdict) for verdict in verdicts), verdicts


def test_no_difference_of_interest():
    """An interval within the margin says that there is no difference worth having; that is not 'undecided'."""
    plain = [0.9000, 0.9100, 0.9050, 0.9020]
    close = [p + d for p, d in zip(plain, [0.0004, -0.0003, 0.0002, -0.0004], strict=True)]
    assert (
        row(compare_variants(finished_pairs("eca", close, plain)), "eca").verdict
        == "no difference of 0.5 points or more"
    )


def test_equal_differences_are_no_proof():
    """Two seeds with the same difference (few test images) leave it undecided, whatever its size."""
    eca = row(compare_variants(finished_pairs("eca", [0.75, 0.5], [0.5, 0.25]), planned_seeds=2), "eca")
    assert eca.p == 0.5
    assert eca.verdict == "undecided, needs more seeds"


def test_no_baseline():
    """Without a plain run of the same recipe there is no difference, and the verdict says what to run."""
    [eca] = compare_variants([finished("eca"), finished("eca", 1)])
    assert eca.difference is None
    assert eca.verdict == "no baseline, run the same recipe with --attn none"


@pytest.mark.parametrize("other", [{"train__lr": 0.2}, {"data": "e" * 64}, {"model__stem": "cifar"}])
def test_another_recipe_is_no_baseline(other):
    """A plain network of another learning rate, other images or another stem is not what to compare with."""
    found = compare_variants([finished("eca"), finished("none", **other)])
    assert row(found, "eca").difference is None
    assert len({r.recipe for r in found}) == 2


def test_timing_and_folders_do_not_matter():
    """Runs that differ in how they were timed and where the files lay are compared."""
    found = compare_variants(
        [finished("eca", data__root="/a", data__decoded=True), finished("none", data__root="/b", measure__repeats=9)]
    )
    assert row(found, "eca").difference.n == 1


@pytest.mark.parametrize(("value", "same"), [(None, True), ("se", False)])
def test_keys_that_came_later_do_not_part_runs(value, same):
    """A run made before a key was there is the baseline of one that does not set it, and of no other."""
    runs = [finished("eca", s, 0.9, model__replace=value) for s in range(3)] + [
        finished("none", s, 0.8) for s in range(3)
    ]
    assert (row(compare_variants(runs), "eca").difference is not None) is same


def test_no_common_seed():
    """Seeds that only one side has are no pair."""
    eca = row(compare_variants([finished("eca", 1), finished("none", 2)]), "eca")
    assert (eca.difference, eca.verdict) == (None, "no seed in common with the baseline")


def test_what_does_not_count():
    """Runs that were not tested are skipped; of a seed that was run twice the first counts."""
    [eca] = compare_variants([finished("eca", 0, 0.8), finished("eca", 0, 0.1), finished("eca", 1, None)])
    assert (eca.seeds, eca.accuracy.mean) == ((0,), 0.8)


def test_variants_have_names_of_their_own():
    """Options, site and stages are part of the name; files of one name and other content show their group."""
    runs = [
        finished("eca", model__options__gamma=3),
        finished("eca", model__site="mid", model__stages=[3, 4]),
        finished("mine", group="aaaa1"),
        finished("mine", group="bbbb2"),
    ]
    assert {r.variant for r in compare_variants(runs)} == {
        "eca(gamma=3)",
        "eca@mid stages=[3, 4]",
        "mine #aaaa",
        "mine #bbbb",
    }


def test_recipes_are_told_apart_by_what_differs():
    """Two recipes of a table are named by the keys in which they differ, and by no others."""
    found = compare_variants([finished("none"), finished("none", train__epochs=30), finished("eca", train__epochs=30)])
    assert [r.recipe for r in found] == ["train.epochs=12", "train.epochs=30", "train.epochs=30"]
    assert compare_variants([finished("none")])[0].recipe == ""


def test_all_variants_of_a_baseline_are_one_family():
    """The p of one variant grows with the variants beside it, whatever is shown; another recipe's do not count."""
    plain, up = [0.90, 0.80, 0.85, 0.95], [0.908, 0.809, 0.856, 0.957]
    alone = row(compare_variants(finished_pairs("eca", up, plain), planned_seeds=4), "eca")
    noise = [[0.012, -0.009, 0.011, -0.012], [-0.01, 0.011, -0.012, 0.01]] * 4
    others = [
        finished(f"a{i}", s, base + d)
        for i, ds in enumerate(noise)
        for s, (base, d) in enumerate(zip(plain, ds, strict=True))
    ]
    among = row(compare_variants(finished_pairs("eca", up, plain) + others, planned_seeds=4), "eca")
    assert (alone.family, among.family) == (1, 9)
    assert alone.joint.p == alone.p == among.p < 0.045 < among.joint.p
    assert alone.verdict == "better"
    assert among.verdict.startswith("undecided")
    elsewhere = [finished(run.result.attn, run.recipe.seed, run.result.test_top1, train__epochs=30) for run in others]
    assert row(compare_variants(finished_pairs("eca", up, plain) + elsewhere, planned_seeds=4), "eca").family == 1


def test_rounding_of_floats_is_no_spread():
    """Two seeds with one more image right each differ by rounding only: sd is 0 and nothing is decided."""
    pairs = finished_pairs("eca", [350 / 359, 343 / 359], [349 / 359, 342 / 359])
    for runs in (pairs, [count_images(run, 359) for run in pairs]):
        eca = row(compare_variants(runs, planned_seeds=2), "eca")
        assert (eca.difference.sd, eca.joint.low) == (0.0, None)
        assert eca.joint.p == 0.5
        assert eca.verdict == "undecided, needs more seeds"


def count_images(run, images):
    """Return the run with its number of correct test images, and an accuracy that was rounded on its way.

    Only the whole numbers tell that all seeds differ alike.
    """
    result = recover_test_counts(run.result, images)
    assert result.test_correct is not None
    rounding = 0.0 if result.attn == "none" else 1e-6 * (1 + run.recipe.seed)
    return replace(run, result=replace(result, test_top1=result.test_top1 + rounding))


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        ({"precision": "bf16"}, "precision=bf16"),
        ({"device": "cuda:0"}, "device=cuda"),
        ({"machine": {"torch": "1.9.0"}}, "torch=1.9"),
        ({"machine": {"processes": 2}}, "processes=2"),
        ({"code": "12345678/"}, "code=12345678"),
    ],
)
def test_other_conditions_are_no_baseline(conditions, words):
    """A plain network trained in another way is not subtracted, and the verdict says what differs."""
    runs = [finished("none", s, 0.8) for s in range(3)] + [finished("eca", s, 0.9, **conditions) for s in range(3)]
    eca = row(compare_variants(runs), "eca")
    assert eca.difference is None
    assert eca.verdict.startswith(f"no baseline: trained with {words}, the plain network with ")
    assert words in eca.recipe


def test_other_code_of_a_mechanism_is_another_variant():
    """Seeds of one recipe whose mechanism's code changed in between are not averaged."""
    runs = [finished("eca", s, 0.9, code=f"11111111/{'a' if s else 'b'}") for s in range(3)]
    assert {r.variant: r.accuracy.n for r in compare_variants(runs)} == {"eca #a": 2, "eca #b": 1}


def test_failed_seeds_are_counted_and_stop_the_verdict():
    """A variant of which a seed failed is not called better by the seeds that did not."""
    pairs = finished_pairs("eca", [0.91, 0.92, 0.93], [0.80, 0.8101, 0.8199])
    failed = FailedRun(recipe=finished("eca", 3).recipe, digest="x", group=pairs[0].result.group)
    eca = row(compare_variants([*pairs, finished("none", 3, 0.8)], failures=[failed]), "eca")
    assert eca.failed_seeds == (3,)
    assert eca.missing_seeds == ()
    assert eca.verdict == "not judged: 1 of 4 seeds failed (seed 3)"


def test_seeds_that_the_plain_network_lacks_are_trained_seeds_too():
    """Of four seeds of eca one failed, whatever the plain network has; the column n says the same."""
    runs = [*[finished("eca", s, 0.9 + 0.001 * s) for s in (0, 1, 2)], finished("none", 0, 0.8)]
    failed = FailedRun(recipe=finished("eca", 3).recipe, digest="x", group=runs[0].result.group)
    eca = row(compare_variants(runs, failures=[failed]), "eca")
    assert (eca.verdict, format_seed_count(eca)) == ("not judged: 1 of 4 seeds failed (seed 3)", "3/4")


@pytest.mark.parametrize(
    ("known", "counts"),
    [
        ({}, True),
        ({"precision": "fp32", "device": "cpu", "machine": {"torch": "2.14.0"}}, True),
        ({"precision": "bf16"}, False),
        ({"precision": "auto"}, True),
        ({"device": "cuda:0"}, False),
        ({"machine": {"torch": "2.13.1"}}, False),
        ({"machine": {"torch": "2.14.1", "processes": 2}}, False),
        ({"code": "aaaaaaaa/bbbbbbbb"}, True),
        ({"code": "cccccccc/bbbbbbbb"}, False),
        ({"code": "aaaaaaaa/cccccccc"}, False),
        ({"data_digest": "e" * 64}, False),
        ({"data_digest": "d" * 64}, True),
    ],
)
def test_a_failure_counts_under_its_own_conditions(known: dict[str, Any], counts: bool):
    """A run that failed in another precision, by other code, ... blocks no verdict; what it does not say is alike."""
    runs = [
        finished(attn, seed, top1, code="aaaaaaaa/" + ("bbbbbbbb" if attn == "eca" else ""))
        for attn, accuracies in (("eca", [0.91, 0.92, 0.93]), ("none", [0.80, 0.8101, 0.8199]))
        for seed, top1 in enumerate(accuracies)
    ]
    failed = FailedRun(recipe=finished("eca", 3).recipe, digest="x", group=runs[0].result.group, **known)
    eca = row(compare_variants(runs, failures=[failed]), "eca")
    assert eca.failed_seeds == ((3,) if counts else ())
    assert eca.verdict.startswith("not judged") == counts


def test_missing_seeds_are_counted():
    """Seeds that only the baseline has are named."""
    runs = finished_pairs("eca", [0.91, 0.92], [0.80, 0.81, 0.82, 0.83])
    assert row(compare_variants(runs), "eca").missing_seeds == (2, 3)


def test_pairs_have_one_seed_whatever_is_missing_or_first():
    """A variant that lacks the first seed is paired by seed and not by rank, in any order of the runs."""
    runs = [finished("none", s, 0.5 + 0.1 * s) for s in range(4)] + [finished("eca", s, 0.51 + 0.1 * s) for s in (3, 1)]
    eca = row(compare_variants(runs), "eca")
    assert eca.missing_seeds == (0, 2)
    assert eca.difference.mean == pytest.approx(0.01)
    assert eca.difference.sd == 0


def test_a_plan_is_waited_for():
    """Nothing is judged before the planned seeds are finished, however large the difference is; then it is."""
    plain, up = [0.80, 0.81, 0.82], [0.91, 0.9205, 0.9302]

    def verdict(planned):
        runs = finished_pairs("eca", up, plain)
        runs = [replace(run, result=replace(run.result, planned_seeds=planned)) for run in runs]
        return row(compare_variants(runs), "eca")

    assert verdict(5).verdict == "no verdict yet: 5 seeds are planned, 3 finished"
    assert (verdict(3).verdict, verdict(3).level) == ("better", 0.045)
    assert verdict(None).level == pytest.approx(0.04 / 3)
    runs = finished_pairs("eca", up, plain)  # two seeds of a plan, and a third that was added by hand
    runs = [replace(r, result=replace(r.result, planned_seeds=2 if r.recipe.seed < 2 else None)) for r in runs]
    assert row(compare_variants(runs), "eca").level == pytest.approx(0.0025)


def test_better_by_less_than_the_margin():
    """A difference that is sure but smaller than the margin is called so."""
    plain = [0.9000, 0.9100, 0.9050, 0.9020]
    runs = finished_pairs("eca", [p + d for p, d in zip(plain, [0.0010, 0.0011, 0.0010, 0.0009], strict=True)], plain)
    assert row(compare_variants(runs), "eca").verdict == "better, by less than 0.5 points"


@pytest.mark.parametrize(("gain", "verdict"), [(1, "better, by less than 0.5 points"), (9, "better")])
def test_a_difference_without_any_spread_has_a_size_too(gain, verdict):
    """Six planned seeds, each with so many images of 1,000 more: no interval, but the difference is what it is."""
    pairs = finished_pairs("eca", [0.9 + gain / 1000] * 6, [0.9] * 6)
    eca = row(compare_variants([count_images(run, 1000) for run in pairs], planned_seeds=6), "eca")
    assert (eca.joint.low, eca.joint.p < eca.level, eca.verdict) == (None, True, verdict)
    assert not _holds_zero(eca)


def test_one_seed_has_mcnemar(tmp_path):
    """With one seed and predictions of every image, the two networks are compared image by image."""
    runs = [finished("eca", 0, 0.7, folder=str(tmp_path / "a")), finished("none", 0, 0.4, folder=str(tmp_path / "b"))]
    labels = np.zeros(10, dtype=int)
    for run, right in zip(runs, (7, 4), strict=True):
        (folder := Path(run.result.folder)).mkdir()
        write_predictions(folder, np.r_[np.zeros(right, int), np.ones(10 - right, int)], labels, 10)
    eca = row(compare_variants([replace(run, folder=Path(run.result.folder)) for run in runs]), "eca")
    assert (eca.disagreement.won, eca.disagreement.lost, eca.disagreement.p) == (3, 0, 0.25)
    assert eca.to_json_dict()["mcnemar_p"] == 0.25


@pytest.mark.parametrize("attns", [("eca",), ("eca", "se", "cbam", "ca", "gct", "bam")])
def test_the_reach_with_other_images_holds_for_all_variants(attns):
    """With images that matter much more than seeds, it covers the normal errors of all variants at once."""
    runs = [finished(attn, s, 0.9 + 0.001 * s * (1 + (attn == "eca"))) for attn in ("none", *attns) for s in range(4)]
    found = [replace(r, image_error=0.5) for r in compare_variants(runs) if r.joint is not None]
    quantiles = [r.reach_with_images / 0.5 for r in found]
    inside = math.prod(1 - 2 * NormalDist().cdf(-q) for q in quantiles)
    assert inside > 1 - max(r.level for r in found) - 0.002
    endless = replace(found[0], joint=replace(found[0].joint, low=-math.inf, high=math.inf))
    assert endless.reach_with_images is None  # a level that no simulated draw reaches


def test_costs_are_the_medians():
    """Parameters, MACs and ratios are those of the runs; what was not measured is None."""
    runs = [finished("eca", s, params=1100, train_ratio=r) for s, r in enumerate((0.8, 0.9, 0.5))]
    [eca] = compare_variants(runs)
    assert (eca.params, eca.params_added, eca.params_pct, eca.train_ratio) == (1100, 100, 10, 0.8)
    assert eca.infer_ratio is None


def test_the_plain_network_is_as_fast_as_itself():
    """Whatever timing it against itself gave, its ratio is 1; where nothing was timed there is none."""
    [plain] = compare_variants([finished("none", train_ratio=0.88)])
    assert (plain.train_ratio, plain.infer_ratio) == (1.0, None)


def test_json_has_flat_estimates():
    """Mean, spread and interval of accuracy and difference have keys of their own; without pairs they are null."""
    plain, eca = (r.to_json_dict() for r in compare_variants(finished_pairs("eca", [0.9, 0.8], [0.8, 0.6])))
    assert [eca[key] for key in ("n", "top1", "pairs", "diff")] == pytest.approx([2, 0.85, 2, 0.15])
    assert eca["diff_low"] < eca["diff"] < eca["diff_high"]
    assert eca["top1_low"] < eca["top1"] - eca["top1_sd"] < eca["top1_high"]
    assert [plain[key] for key in ("pairs", "diff", "diff_sd", "diff_low", "diff_high")] == [0, None, None, None, None]
    assert plain.keys() == eca.keys()
    assert (eca["epochs"], eca["precision"], eca["image_size"]) == (12, plain["precision"], 8)


def test_no_runs_make_no_rows():
    """No runs, no rows."""
    assert compare_variants([]) == []


def test_images_of_the_user_have_the_name_of_their_folder():
    """Two folders are two tables, named as the folders; a run is found by that name and by the dataset's."""
    runs = [
        replace(finished(attn, data__name="folder", data__root=f"/pictures/{name}", data=digest * 64), dataset="folder")
        for name, digest in (("mini", "a"), ("birds", "b"))
        for attn in ("none", "eca")
    ]
    rows = compare_variants(runs)
    assert [(row.dataset, row.images, row.recipe) for row in rows] == [
        ("folder", name, "") for name in ("birds", "birds", "mini", "mini")
    ]
    assert [title for title, _ in group_comparison_rows(rows)] == ["birds, resnet18", "mini, resnet18"]
    assert [run.is_on("mini") for run in runs] == [True, True, False, False]
    assert all(run.is_on("folder") and run.is_on(None) for run in runs)
    renamed = replace(runs[0], dataset="cifar10")  # as `--folder-is cifar10` says
    assert renamed.images == "cifar10"


def test_a_plot_of_some_mechanisms_does_not_replace_that_of_all():
    """Other mechanisms, another file; names of users' images may have slashes."""
    names = [format_plot_name("mini", "timm/resnet18", "params", attn) for attn in ([], ["eca"], ["eca", "./a/b.py"])]
    assert names == [f"compare-mini-timm-resnet18-{middle}params.png" for middle in ("", "eca-", "eca+b-")]
    long_names = {format_plot_name("mini", "resnet18", "params", [*["ä" * 9] * count]) for count in (50, 51)}
    assert len(long_names) == 2
    assert max(len(name.encode()) for name in long_names) <= 255
