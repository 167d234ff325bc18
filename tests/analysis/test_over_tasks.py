"""Variants over several tasks."""

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from attncli.analysis.over_tasks import (
    _find_iqm_reach,
    choose_mechanisms,
    compare_over_tasks,
    compute_critical_difference,
    compute_interquartile_mean,
    find_share_interval,
)
from attncli.errors import UserError
from attncli.report.over_tasks import draw_critical_differences, find_cliques, render_task_comparison
from attncli.runs import FailedRun
from tests.analysis.case import finished
from tests.claims.case import run
from tests.commands.line import line, refused


def runs_of_task(dataset, gains):
    """Return runs of three seeds: a plain network, and variants that are better by `gains` and a little luck."""
    luck = {"none": (0.0, 0.0, 0.0), "eca": (0.001, -0.001, 0.0), "se": (0.0, 0.002, -0.002)}
    return [
        replace(finished(attn, seed, 0.8 + gain + luck[attn][seed], data=dataset * 64), dataset=dataset)
        for attn, gain in {"none": 0.0, **gains}.items()
        for seed in range(3)
    ]


def test_ranks_improvements_and_means():
    """eca is best twice and second once, and always better than the plain network; se is worse once."""
    gains = [{"eca": 0.02, "se": 0.01}, {"eca": 0.02, "se": 0.03}, {"eca": 0.02, "se": -0.01}]
    runs = [run for name, gain in zip("abc", gains, strict=True) for run in runs_of_task(name, gain)]
    found = compare_over_tasks(runs, ["dataset"])
    assert found.tasks == ("a", "b", "c")
    by_name = {summary.variant: summary for summary in found.variants}
    assert [summary.variant for summary in found.variants] == ["eca", "se", "none"]
    assert [by_name[name].mean_rank for name in ("eca", "se", "none")] == pytest.approx([4 / 3, 2, 8 / 3])
    assert by_name["eca"].improvement == 1.0
    assert by_name["se"].improvement == pytest.approx(2 / 3)
    assert by_name["eca"].iqm == pytest.approx(0.02)
    assert by_name["eca"].iqm_low < 0.02 < by_name["eca"].iqm_high
    assert by_name["none"].improvement is None
    assert by_name["eca"].improvement_low == pytest.approx(0.025 ** (1 / 9))  # nine of nine
    assert by_name["eca"].improvement_high == 1.0
    shown = choose_mechanisms(found, ["se"])
    assert [(v.variant, v.mean_rank) for v in shown.variants] == [("se", 2), ("none", pytest.approx(8 / 3))]
    assert (shown.critical_difference, shown.ranked) == (found.critical_difference, 3)
    failed = FailedRun(recipe=finished("eca", 7).recipe, digest="x", group=finished("eca").result.group)
    assert compare_over_tasks(runs, ["dataset"], [failed]).left_out == ("eca",)
    assert compare_over_tasks(runs, ["dataset"], [replace(failed, precision="bf16")]).left_out == ()
    assert compare_over_tasks(runs, ["dataset"], [replace(failed, data_digest="a" * 64)]).left_out == ("eca",)


def plan_seeds(runs, planned):
    """Return the runs as if so many seeds had been planned, by the name of the mechanism."""
    return [replace(run, result=replace(run.result, planned_seeds=planned[run.result.attn])) for run in runs]


def test_what_lacks_planned_seeds_is_not_judged():
    """As in the comparison of one task: a plan is judged when it is finished, in every task, and not at each look."""
    tasks = [run for name in "ab" for run in runs_of_task(name, {"eca": 0.02, "se": 0.01})]
    finished_plan = {"none": 3, "eca": 3, "se": 3}
    assert compare_over_tasks(plan_seeds(tasks, finished_plan), ["dataset"]).left_out == ()
    found = compare_over_tasks(plan_seeds(tasks, finished_plan | {"eca": 5}), ["dataset"])
    assert (found.left_out, found.unfinished, found.ranked) == (("eca",), ("eca",), 2)
    assert "planned seeds are not finished: eca" in render_task_comparison(found)
    assert "a seed failed: eca" not in render_task_comparison(found)
    with pytest.raises(UserError, match="no verdict yet: planned seeds are not finished: eca, se"):
        compare_over_tasks(plan_seeds(tasks, {"none": 5, "eca": 5, "se": 5}), ["dataset"])
    fewer_plain_runs = [run for run in tasks if (run.dataset, run.result.attn, run.recipe.seed) != ("b", "none", 2)]
    with pytest.raises(UserError, match="no verdict yet"):
        compare_over_tasks(plan_seeds(fewer_plain_runs, finished_plan), ["dataset"])


def test_folds_of_a_seed_are_one_run():
    """Three folds of two seeds are two runs of each task: their training images overlap, and no seed is new."""
    gains = (0.04, 0.01, -0.02)
    runs = [
        finished(attn, seed, 0.8 + gain * (attn == "eca"), data__folds=3, data__fold=fold, data__name=dataset)
        for dataset in ("digits", "cifar10")
        for attn in ("none", "eca")
        for seed in range(2)
        for fold, gain in enumerate(gains)
    ]
    runs = [replace(run, dataset=run.recipe.data.name) for run in runs]
    eca = compare_over_tasks(runs, ["dataset"]).variants[0]
    assert (eca.variant, eca.improvement, eca.iqm) == ("eca", 1.0, pytest.approx(0.01))
    assert eca.improvement_low == pytest.approx(0.025 ** (1 / 4))  # four of four


def test_intervals_hold_the_truth():
    """Normal differences of two to four tasks by three seeds: the interval of 95 % covers 0, whatever the tasks."""
    rng = np.random.default_rng(0)
    covered = []
    for tasks in [2, 4] * 100:
        half = _find_iqm_reach(draws := [rng.normal(size=3) for _ in range(tasks)])
        covered.append(abs(compute_interquartile_mean(np.concatenate(draws)[None])[0]) <= half)
    assert np.mean(covered) > 0.9
    assert _find_iqm_reach([[0.1], [0.1, 0.2]]) is None
    assert _find_iqm_reach([[0.1, 0.1], [0.2, 0.2]]) is None  # tasks differ, seeds do not
    for wins in range(8):
        expected = scipy_stats.binomtest(wins, 7).proportion_ci(method="exact")
        assert find_share_interval(wins / 7, [4, 3]) == pytest.approx((expected.low, expected.high), abs=0.02)


def test_variants_that_a_task_lacks_are_left_out(tmp_path):
    """Only what every task has is ranked; the others are named, in the text too."""
    runs = [*runs_of_task("a", {"eca": 0.02, "se": 0.01}), *runs_of_task("b", {"eca": 0.02})]
    found = compare_over_tasks(runs, ["dataset"])
    assert [summary.variant for summary in found.variants] == ["eca", "none"]
    assert found.left_out == ("se",)
    text = render_task_comparison(found)
    assert "a seed failed: se" in text
    assert max(map(len, text.splitlines())) <= 80
    draw_critical_differences(found, tmp_path / "diagram.png")
    assert (tmp_path / "diagram.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("runs", "over", "problem"),
    [
        (runs_of_task("a", {"eca": 0.02}), ["dataset"], "have 1 task"),
        (runs_of_task("a", {"eca": 0.02}), ["datset"], "unknown key of --over: 'datset'"),
        ([*runs_of_task("a", {"eca": 0.0}), *runs_of_task("b", {"se": 0.0})], ["dataset"], "no mechanism was trained"),
    ],
)
def test_what_cannot_be_compared_is_refused(runs, over, problem):
    """One task, an unknown key, nothing in common."""
    with pytest.raises(UserError, match=problem):
        compare_over_tasks(runs, over)


def test_critical_difference_of_demsar():
    """Demsar (2006), section 3.2.2: four classifiers on 14 data sets, q = 2.569, CD = 1.25."""
    assert compute_critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)


def test_interquartile_mean_is_scipys():
    """The mean without a quarter at each end."""
    values = np.random.default_rng(0).normal(size=(3, 13))
    assert compute_interquartile_mean(values) == pytest.approx(scipy_stats.trim_mean(values, 0.25, axis=1))


def test_bars_join_what_does_not_differ():
    """Longest ranges only, none of a single variant."""
    assert find_cliques([1.0, 1.5, 2.4, 4.0], 1.0) == [(0, 1), (1, 2)]
    assert find_cliques([1.0, 1.2, 1.4], 1.0) == [(0, 2)]
    assert find_cliques([1.0, 3.0], 1.0) == []


def test_the_command_follows_every_format_and_filter(tmp_path, monkeypatch):
    """CSV is CSV, a plot of some runs has its own name, and options that would be without effect are refused."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for dataset in ("digits", "cifar10"):
        for attn, gain in (("none", 0.0), ("eca", 0.02)):
            for seed in range(3):
                run(Path("runs"), attn=attn, seed=seed, top1=0.8 + gain + 0.001 * seed, data__name=dataset)
    words = ("compare", "--over", "dataset", "--no-plot")
    rows = list(csv.DictReader(io.StringIO(line(*words, "--format", "csv").out)))
    assert [(row["variant"], float(row["mean_rank"])) for row in rows] == [("eca", 1.0), ("none", 2.0)]
    assert line(*words, "--format", "markdown").out.startswith("| attention | rank |")
    assert r"\begin{tabular}" in line(*words, "--format", "latex").out
    assert line(*words, "--json").json()["tasks"] == line(*words, "--format", "json").json()["tasks"]
    for option, value in (("--sort", "top1"), ("--margin", "0"), ("--cost", "macs")):
        refused(line(*words, option, value), f"{option} with --over")
    for filters, name in (((), "compare-over-dataset"), (("--attn", "eca"), "compare-over-dataset-eca")):
        assert line("compare", "--over", "dataset", *filters).err.strip() == f"plot: runs/{name}.png"
        assert Path(f"runs/{name}.png").is_file()
    Path("runs/compare-over-dataset.pdf").mkdir()
    done = line("compare", "--over", "dataset", "--plot-as", "pdf")
    assert (done.code, done.err.startswith("no plot: runs/compare-over-dataset.pdf: ")) == (0, True)


def test_of_several_recipes_of_a_task_the_most_pairs_count() -> None:
    """Of recipes with as many variants the one with more seeds counts, then more epochs; a line says which."""
    gains = {"none": 0.0, "eca": 0.02}
    longer = [
        replace(finished(attn, seed, 0.8 - gain, data=dataset * 64, train__epochs=30), dataset=dataset)
        for dataset in "ab"
        for attn, gain in gains.items()
        for seed in range(2)
    ]
    usual = [run for dataset in "ab" for run in runs_of_task(dataset, {"eca": 0.02})]
    for runs in (longer + usual, usual + longer):
        comparison = compare_over_tasks(runs, ["dataset"])
        assert [summary.variant for summary in comparison.variants] == [
            "eca",
            "none",
        ]
        assert comparison.recipe_choices[0].startswith("a: of 2 recipes train.epochs=12 counts")
    as_many = [*longer, *(run for run in usual if run.recipe.seed < 2)]
    comparison = compare_over_tasks(as_many, ["dataset"])
    assert [summary.variant for summary in comparison.variants] == ["none", "eca"]
    assert "b: of 2 recipes train.epochs=30 counts" in " ".join(render_task_comparison(comparison).split())
    assert compare_over_tasks(usual, ["dataset"]).recipe_choices == ()


def test_the_option_that_chooses_a_recipe_is_named_by_what_differs() -> None:
    """Networks are chosen by --backbone, schedules by --recipe, versions of torch by nothing."""

    def word_choice(seeds: int = 3, **keys: Any) -> tuple[str, ...]:
        runs = [run for name in "ab" for run in runs_of_task(name, {"eca": 0.02})]
        others = [
            replace(finished(attn, seed, 0.8, data="a" * 64, **keys), dataset="a")
            for attn in ("none", "eca")
            for seed in range(seeds)
        ]
        return compare_over_tasks([*runs, *others], ["dataset"]).recipe_choices

    assert word_choice(train__lr=0.3)[0].endswith("counts (--recipe chooses)")
    assert word_choice(machine={"torch": "2.0.0"})[0].endswith("counts")
    assert word_choice(model__backbone="resnet20")[0].endswith("counts (--backbone chooses)")
    assert len(word_choice(model__backbone="resnet20", seeds=2)) == 1
    assert word_choice(model__backbone="resnet20", seeds=9)[1].startswith(
        "the tasks differ in their network too: a resnet20, b resnet18"
    )
