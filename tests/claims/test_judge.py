"""Verdicts: exact ones are true or false, those of runs say no more than the seeds do, and all say what to do next."""

import dataclasses
import statistics
from pathlib import Path

import pytest

from attncli.analysis import stats
from attncli.analysis.count_cache import CountCache
from attncli.analysis.failures import group_failures
from attncli.analysis.looks import FIRST_LEVEL
from attncli.claims import accuracy, claim_files, judge
from attncli.claims.evidence import Evidence
from attncli.claims.throughput import SpeedStore
from attncli.errors import UserError
from attncli.report import claims as claims_report
from attncli.runs import FailedRun, RunStore, read_finished_runs
from tests.claims.case import claims_file, pairs, run

ECA, PLAIN = "top1(resnet20 + eca)", "top1(resnet20)"
BETTER = [0.913, 0.905, 0.921, 0.909]  # a point above PLAINS, but for a little
PLAINS = [0.903, 0.894, 0.912, 0.899]


def verdicts(folder: Path, *checks: str, backbone: str | None = None, uri: str | None = None, **keys):
    """The verdicts on these checks by the runs below `folder`."""
    known = claim_files.read_claim_files([claims_file(folder, *checks, **keys)])
    runs = folder / "runs"
    evidence = Evidence(CountCache(), SpeedStore(runs), read_finished_runs(RunStore(runs, uri)), backbone)
    return judge.judge_claims(known, evidence)


def verdict(folder: Path, check: str, **keys):
    """The verdict on one check."""
    return verdicts(folder, check, **keys)[0]


@pytest.mark.parametrize(
    ("check", "outcome"),
    [
        ("params(resnet20 + eca) - params(resnet20) == 27", "holds"),
        ("params(resnet20 + eca) - params(resnet20) != 27", "fails"),
        ("params(resnet20) < params(resnet20 + eca) < params(resnet20 + se)", "holds"),
        ("params(resnet20 + simam) > params(resnet20)", "fails"),
        ("params(resnet20 + simam) >= params(resnet20)", "holds"),
        ("params(resnet20 + eca[k=5]) - params(resnet20) ~ 45 +- 0", "holds"),
        ("params(resnet20 + eca[k=5]) - params(resnet20) ~ 44 +- 5 %", "holds"),
        ("params(resnet20 + eca[k=5]) - params(resnet20) ~ 40 +- 5 %", "fails"),
        ("params(resnet20) / params(resnet20) ~ 0.6 +- 50 %", "fails"),
        ("params(resnet20) / params(resnet20) ~ 60 % +- 50 %", "holds"),
        ("params(resnet20 + se / stages 3) < params(resnet20 + se) and params(resnet20) < 2", "fails"),
        ("max(params(resnet20), 1) / abs(-params(resnet20)) ~ 1 +- 1 %", "holds"),
        ("macs(resnet20 + eca) - macs(resnet20) < 0.1 % * macs(resnet20)", "holds"),
        ("memory(resnet20 + eca) > memory(resnet20)", "holds"),
        ("params(resnet20, classes=100) - params(resnet20) == 90 * 65", "holds"),
    ],
)
def test_exact_claims_are_true_or_false(tmp_path, check, outcome):
    """By counting, at once, each comparison of a chain and of an `and`."""
    found = verdict(tmp_path, check)
    assert (found.outcome, found.by, found.command) == (outcome, "counting", None)


def test_counts_are_kept(tmp_path, monkeypatch):
    """The second time nothing is counted, and what other code counted is not believed."""
    from attncli.analysis import count_cache
    from attncli.measure.cost import QUANTITIES

    monkeypatch.setattr(count_cache, "find_shipped_counts", lambda *_: None)
    check = "params(resnet20 + eca) < 1M"
    assert dict(verdict(tmp_path, check).values) == {"params(resnet20 + eca)": 269_722 + 27}
    monkeypatch.setitem(QUANTITIES, "params", lambda *_: 1)
    assert dict(verdict(tmp_path, check).values) == {"params(resnet20 + eca)": 269_722 + 27}
    monkeypatch.setattr(count_cache, "compute_state", lambda: "another")
    assert dict(verdict(tmp_path, check).values) == {"params(resnet20 + eca)": 1}


def test_what_cannot_be_built_is_untested(tmp_path):
    """A mechanism of clips on still images gives the reason, not a crash."""
    found = verdict(tmp_path, "params(resnet20 + gltr @ gate) < 1")
    assert found.outcome == "untested"
    assert found.why


def test_a_division_by_zero_is_untested(tmp_path):
    """Two networks of one size: their difference is no number to divide by, and no crash."""
    found = verdict(tmp_path, "1 / (params(resnet20 + simam) - params(resnet20)) > 2")
    assert (found.outcome, "divides by 0" in found.why) == ("untested", True)


def test_better_on_every_seed_holds(tmp_path):
    """Four seeds a point better decide; the difference, its interval and the runs are told."""
    pairs(tmp_path / "runs", "eca", BETTER, PLAINS)
    found = verdict(tmp_path, f"{ECA} > {PLAIN}", on="digits")
    assert (found.outcome, found.by, found.n, found.labels) == ("holds", "runs", 4, ())
    (part,) = found.parts
    assert part.difference == pytest.approx(0.01)
    assert part.low > 0.008
    assert found.p < 0.001
    assert len(part.digests) == len(part.run_ids) == 8
    assert verdict(tmp_path, f"{ECA} < {PLAIN}").outcome == "fails"


def test_holds_by_a_bound(tmp_path):
    """A difference of 1 point is more than 0.5 and not more than 2; it is told as it is, beside its bound."""
    pairs(tmp_path / "runs", "eca", BETTER, PLAINS)
    assert verdict(tmp_path, f"{ECA} - {PLAIN} > 0.5 %").outcome == "holds"
    found = verdict(tmp_path, f"{ECA} - {PLAIN} > 2 %")
    assert found.outcome == "fails"
    assert (found.parts[0].difference, found.parts[0].bound) == pytest.approx((0.01, 0.02))


def test_no_worse_is_tested_one_sided(tmp_path):
    """Networks alike are no worse by half a point; p is half of what a two-sided test would give."""
    close = [p + d for p, d in zip(PLAINS, [0.001, -0.001, 0.001, -0.001], strict=True)]
    pairs(tmp_path / "runs", "eca", close, PLAINS)
    same, better = verdicts(tmp_path, f"{ECA} > {PLAIN} - 0.5 %", f"{ECA} > {PLAIN} + 0.5 %")
    assert same.outcome == "holds"
    assert better.outcome == "fails"
    assert (same.parts[0].forgiving, better.parts[0].forgiving) == (True, False)
    assert better.parts[0].p_fails == pytest.approx(2 * same.parts[0].p_holds)


def test_equal_within_is_two_tests(tmp_path):
    """`~` holds where both ends are excluded, and fails where one of them is passed."""
    close = [p + d for p, d in zip(PLAINS, [0.001, -0.002, 0.002, -0.001], strict=True)]
    pairs(tmp_path / "runs", "eca", close, PLAINS)
    assert verdict(tmp_path, f"{ECA} ~ {PLAIN} +- 0.6 %").outcome == "holds"
    assert verdict(tmp_path, f"{ECA} ~ {PLAIN} +- 0.1 %").outcome == "undecided"
    assert verdict(tmp_path, f"{ECA} ~ {PLAIN} + 2 % +- 0.5 %").outcome == "fails"


def test_sizes_and_largest_are_taken_after_the_noise(tmp_path):
    """abs(a - b) < t is a ~ b +- t, and a > max(b, c) is a > b and a > c: taken seed by seed they would be biased."""
    close = [p + d for p, d in zip(PLAINS, [0.006, -0.006, 0.005, -0.005], strict=True)]
    pairs(tmp_path / "runs", "eca", close, PLAINS)
    size = verdict(tmp_path, f"abs({ECA} - {PLAIN}) < 2 %")
    assert (size.outcome, size.parts[0].forgiving) == ("holds", True)
    assert size.p == pytest.approx(verdict(tmp_path, f"{ECA} ~ {PLAIN} +- 2 %").p)
    turned = verdict(tmp_path, f"2 % > abs({ECA} - {PLAIN})")
    assert (turned.outcome, turned.p) == (size.outcome, pytest.approx(size.p))
    most = verdict(tmp_path, f"{ECA} + 3 % > max({PLAIN}, {PLAIN} + 1 %)")
    both = verdict(tmp_path, f"{ECA} + 3 % > {PLAIN} and {ECA} + 3 % > {PLAIN} + 1 %")
    assert most.outcome == both.outcome == "holds"
    assert most.p == pytest.approx(both.p)


@pytest.mark.parametrize(("check", "against"), [
    (f"abs({ECA} - {PLAIN}) < 2 %", "±2.00"), (f"2 % > abs({ECA} - {PLAIN})", "±2.00"),
    (f"{ECA} ~ {PLAIN} +- 0.3 %", "±0.30"), (f"{ECA} ~ {PLAIN} + 1 % +- 0.3 %", "+1.00 ±0.30"),
])  # fmt: skip
def test_the_figures_of_a_size_are_those_of_the_difference(tmp_path, check, against):
    """Not of the mean size, which noise makes larger: of +0.6, -0.6, +0.5 and -0.5 points the mean is 0."""
    differences = [0.006, -0.006, 0.005, -0.005]
    close = [p + d for p, d in zip(PLAINS, differences, strict=True)]
    pairs(tmp_path / "runs", "eca", close, PLAINS)
    (part,) = verdict(tmp_path, check).parts
    assert part.difference == pytest.approx(0, abs=1e-12)
    half = 3.182446 * statistics.stdev(differences) / 2  # of Student's t with three degrees of freedom
    assert (part.low, part.high) == pytest.approx((-half, half))
    level = 0.045 if "+ 1 %" in check else 2 * 0.045  # those that equal networks fulfil are tested one-sided
    assert part.power == pytest.approx(stats.t_test_power(4, statistics.stdev(differences), 0.005, level))
    assert claims_report.format_part_figures(part).endswith(f"0.00 ±1.01 against {against}, n 4")


def test_the_figures_of_the_largest_are_those_of_the_weakest_part(tmp_path):
    """eca is above se by a point and above the plain network by two on average; which is lower changes by seed."""
    plain, se = [0.90, 0.88, 0.90, 0.88], [0.89, 0.91, 0.89, 0.91]
    eca = [0.912, 0.908, 0.91, 0.91]
    for name, accuracies in (("none", plain), ("se", se), ("eca", eca)):
        for seed, top1 in enumerate(accuracies):
            run(tmp_path / "runs", attn=name, seed=seed, top1=top1, planned=4)
    (part,) = verdict(tmp_path, f"{ECA} + 1 % > max({PLAIN}, top1(resnet20 + se))").parts
    assert (part.difference, part.bound) == pytest.approx((0.01, -0.01))
    (part,) = verdict(tmp_path, f"max({PLAIN}, top1(resnet20 + se)) < {ECA} + 1 %").parts
    assert (part.difference, part.bound) == pytest.approx((-0.01, 0.01))
    assert part.high - part.low == pytest.approx(2 * 3.182446 * statistics.stdev([0.022, -0.002, 0.02, 0.0]) / 2)


def test_a_named_recipe_is_the_one_of_the_runs(tmp_path, monkeypatch):
    """Not the one with most pairs; both figures are of it, also if one of them names it only."""
    monkeypatch.chdir(tmp_path)
    Path("long.yaml").write_text("train: {epochs: 30}\n")
    Path("never.yaml").write_text("train: {epochs: 31}\n")
    pairs(tmp_path / "runs", "eca", BETTER, PLAINS)
    pairs(tmp_path / "runs", "eca", PLAINS[:3], BETTER[:3], train__epochs=30)
    own, plain = "top1(resnet20 + eca, recipe='long.yaml')", "top1(resnet20, recipe='long.yaml')"
    for check in (f"{own} > {plain}", f"{own} > {PLAIN}", f"{ECA} > {plain}"):
        outcome = verdict(tmp_path, check.replace("'", '"'))
        assert (outcome.outcome, outcome.n) == ("fails", 3)
    assert verdict(tmp_path, f"{ECA} > {PLAIN}").outcome == "holds"
    unknown = verdict(tmp_path, f"{own} > {PLAIN}".replace("'long.yaml'", '"never.yaml"'))
    assert (unknown.outcome, unknown.parts[0].why) == (
        "untested",
        "no finished run of resnet20 + eca and resnet20 with the recipe never.yaml",
    )


@pytest.mark.parametrize(
    "check",
    [
        f"abs({ECA} - {PLAIN}) > 0.3 %",
        f"max({ECA}, {PLAIN}) > {PLAIN}",
        f"{PLAIN} < max({ECA}, {PLAIN})",
        f"min({ECA}, {PLAIN}) < {PLAIN}",
        f"2 * max({ECA}, {PLAIN}) < 2 * {PLAIN} + 1 %",
        f"abs({ECA} - {PLAIN}) / 2 < 0.3 %",
        f"{ECA} > max({PLAIN}, 1 %) > {PLAIN}",
        "abs(latency(resnet20 + eca) - latency(resnet20)) > 0.01",
    ],
)
def test_functions_that_noise_alone_fulfils_are_refused(tmp_path, check):
    """Equal networks of enough noise have large differences, and the larger of two is above both on average."""
    with pytest.raises(UserError, match="noise alone makes"):
        claim_files.read_claim_files([claims_file(tmp_path, check)])


def test_one_seed_decides_nothing(tmp_path):
    """Whatever the difference."""
    pairs(tmp_path / "runs", "eca", [0.99], [0.10])
    found = verdict(tmp_path, f"{ECA} > {PLAIN}")
    assert (found.outcome, found.p, found.more_seeds) == ("undecided", None, None)
    assert "one seed" in found.why
    assert found.command.startswith(f"attncli claims run c0 --file {tmp_path}/eca.yaml --recipe ")


def test_undecided_says_how_many_seeds(tmp_path):
    """The range of seeds is planned for half a point at the spread seen, never for the difference seen."""

    def plan(name, variant):
        pairs(tmp_path / name / "runs", "eca", variant, [0.90, 0.90, 0.90])
        found = verdict(tmp_path / name, f"{ECA} > {PLAIN}")
        assert found.outcome == "undecided"
        assert found.command.endswith(f"/recipe.yaml --seeds {3 + found.more_seeds}")
        return found.more_seeds, found.most_more_seeds, found.parts[0].power

    low, high, power = plan("a", [0.91, 0.92, 0.90])
    assert 3 < low < high
    assert 0.05 < power < 0.15
    assert plan("b", [0.901, 0.911, 0.891])[:2] == (low, high)  # the same spread, a difference ten times smaller


def test_the_command_for_more_seeds_has_those_that_were_trained(tmp_path):
    """Seeds 100 to 102 are among them, so that so many in all are the number that was planned."""
    for attn, accuracies in (("eca", [0.91, 0.92, 0.90]), ("none", [0.90, 0.90, 0.90])):
        for seed, top1 in enumerate(accuracies, start=100):
            run(tmp_path / "runs", attn=attn, seed=seed, top1=top1, planned=3)
    found = verdict(tmp_path, f"{ECA} > {PLAIN}")
    seeds = found.command.partition(" --seeds ")[2].split(",")
    assert seeds[:5] == ["100", "101", "102", "0", "1"]
    assert len(seeds) == len(set(seeds)) == 3 + found.more_seeds


def test_equal_seeds_need_as_many_as_the_sign_flip_test(tmp_path):
    """Networks that all collapse to the same accuracy have no spread: 2 * 2^-n is below the next level with n seeds."""
    pairs(tmp_path / "runs", "eca", [0.1] * 3, [0.9] * 3)
    found = verdict(tmp_path, f"{ECA} < 80 %")
    assert (found.outcome, found.parts[0].sd) == ("undecided", 0)
    needed = 3 + found.more_seeds
    assert 2 * 2.0**-needed < found.parts[0].next_level <= 2 * 2.0 ** -(needed - 1)


def test_a_network_that_does_not_train_needs_the_plain_one(tmp_path):
    """It is no fault of the recipe if the plain network reaches its published accuracy by it; alone it says nothing."""
    collapsed = [0.1, 0.12, 0.11, 0.1]
    pairs(tmp_path / "with" / "runs", "eca", collapsed, [0.92, 0.915, 0.918, 0.921], data__name="cifar10")
    for seed, top1 in enumerate(collapsed):
        run(tmp_path / "without" / "runs", attn="eca", seed=seed, top1=top1, planned=4, data__name="cifar10")
    decided, alone = (verdict(tmp_path / name, f"{ECA} < 80 %", on="cifar10") for name in ("with", "without"))
    assert decided.outcome == "holds"
    assert alone.outcome == "undecided"
    assert "plain resnet20 trained by this recipe" in alone.why


def test_a_plan_of_more_seeds_is_waited_for(tmp_path):
    """Before the planned seeds are finished there is no verdict, and it says so."""
    for attn, accuracies in (("eca", BETTER), ("none", PLAINS)):
        for seed, top1 in enumerate(accuracies):
            run(tmp_path / "runs", attn=attn, seed=seed, top1=top1, planned=6)
    found = verdict(tmp_path, f"{ECA} > {PLAIN}")
    assert (found.outcome, found.why) == ("undecided", "no verdict yet: 6 seeds are planned, 4 finished")


def test_failed_and_missing_seeds_are_counted(tmp_path):
    """A seed of eca failed: the others decide nothing. Without that record it is missing, and is shown."""
    pairs(tmp_path / "runs", "eca", BETTER, PLAINS)
    for seed in (4, 5):
        run(tmp_path / "runs", attn="none", seed=seed, top1=0.9, planned=4)
    known = claim_files.read_claim_files([claims_file(tmp_path, f"{ECA} > {PLAIN}")])
    runs = read_finished_runs(RunStore(tmp_path / "runs"))
    eca = next(r for r in runs if r.recipe.model.attn == "eca")
    failed = FailedRun(recipe=eca.recipe.model_copy(update={"seed": 5}), digest="x", group=eca.result.group)
    evidence = Evidence(CountCache(), SpeedStore(tmp_path), runs)
    (whole,) = judge.judge_claims(known, evidence)
    (stopped,) = judge.judge_claims(known, dataclasses.replace(evidence, failures=(failed,)))
    assert (whole.outcome, whole.parts[0].missing_seeds, whole.parts[0].failed_seeds) == ("holds", (4, 5), ())
    assert (stopped.outcome, stopped.parts[0].missing_seeds, stopped.parts[0].failed_seeds) == ("undecided", (4,), (5,))
    assert stopped.parts[0].failure in stopped.why
    assert "resnet20 + eca" in stopped.parts[0].failure
    elsewhere = dataclasses.replace(failed, precision="bf16")
    assert judge.judge_claims(known, dataclasses.replace(evidence, failures=(elsewhere,)))[0].outcome == "holds"
    assert "n 4/6" in claims_report.format_part_figures(stopped.parts[0])


def test_a_failure_counts_for_its_own_fold(tmp_path):
    """Seed 3 of fold 1 failed: the runs of fold 0 lack nothing, those of fold 1 decide nothing."""
    for fold in (0, 1):
        pairs(tmp_path / "runs", "eca", BETTER, PLAINS, data__folds=5, data__fold=fold)
    runs = read_finished_runs(RunStore(tmp_path / "runs"))
    last = next(r for r in runs if (r.recipe.model.attn, r.recipe.seed, r.recipe.data.fold) == ("eca", 3, 1))
    failed = FailedRun(recipe=last.recipe, digest=last.digest, group=last.result.group)
    found = {}
    for fold in (0, 1):
        of_fold = {r.recipe.seed: r for r in runs if r.recipe.model.attn == "eca" and r.recipe.data.fold == fold}
        of_fold.pop(3)
        found[fold] = accuracy._find_failed_seeds(of_fold, group_failures([failed]))
    assert found == {0: set(), 1: {3}}


def test_the_next_step_goes_on_with_ones_own_recipe(tmp_path):
    """Undecided by own runs: their recipe file. By runs of a file of results, whose folders are gone: the claim's."""
    pairs(tmp_path / "runs", "eca", BETTER[:1], PLAINS[:1])
    known = claim_files.read_claim_files([claims_file(tmp_path, f"{ECA} > {PLAIN}")])
    runs = read_finished_runs(RunStore(tmp_path / "runs"))
    commands = []
    for is_imported in (False, True):
        evidence = Evidence(
            CountCache(), SpeedStore(tmp_path), [dataclasses.replace(r, is_imported=is_imported) for r in runs]
        )
        (found,) = judge.judge_claims(known, evidence)
        commands.append(found.command)
    assert "--recipe" in commands[0]
    assert str(tmp_path / "runs") in commands[0]
    assert "--recipe" not in commands[1]
    assert commands[1].startswith("attncli claims run c0")


def test_ones_own_images_stand_in_for_those_that_are_missing(tmp_path, monkeypatch):
    """A claim on ImageNet of two networks, which --backbone does not replace: its next step is on the user's folder."""
    monkeypatch.setenv("ATTNCLI_DATA", str(tmp_path))
    run(tmp_path / "runs", attn="eca", seed=0, top1=0.5, data__name="folder", data__root=str(tmp_path / "flowers"))
    (eca,) = read_finished_runs(RunStore(tmp_path / "runs"))
    check = "top1(resnet50 + eca) > top1(resnet18)"
    known = claim_files.read_claim_files([claims_file(tmp_path, check, on="imagenet")])
    commands = []
    for dataset, backbone in (("folder", None), ("folder", "resnet20"), ("imagenet", None)):
        runs = [dataclasses.replace(eca, dataset=dataset)]
        (found,) = judge.judge_claims(known, Evidence(CountCache(), SpeedStore(tmp_path), runs, backbone))
        commands.append(found.command.split()[6:])
    assert commands == [["--data-root", "DIR"], *[["--recipe", str(eca.folder / "recipe.yaml")]] * 2]


def test_declared_seeds_are_a_plan(tmp_path):
    """Runs that no sweep planned are judged at the level of the number that the user declares; others have no plan."""
    for attn, accuracies in (("eca", BETTER), ("none", PLAINS)):
        for seed, top1 in enumerate(accuracies):
            run(tmp_path / "runs", attn=attn, seed=seed, top1=top1)
    known = claim_files.read_claim_files([claims_file(tmp_path, f"{ECA} > {PLAIN}")])
    evidence = Evidence(CountCache(), SpeedStore(tmp_path), read_finished_runs(RunStore(tmp_path / "runs")))
    parts = {
        declared: judge.judge_claims(known, dataclasses.replace(evidence, planned_seeds=declared))[0].parts[0]
        for declared in (None, 4, 6)
    }
    assert {declared: part.planned_seeds for declared, part in parts.items()} == {None: None, 4: 4, 6: 6}
    assert parts[4].level == FIRST_LEVEL
    assert parts[6].level is None


@pytest.mark.parametrize("other", [{"precision": "bf16"}, {"device": "cuda"}, {"code": "1/2"}])
def test_runs_under_other_conditions_are_no_pair(tmp_path, other):
    """A mechanism trained in another precision, on another device or with other code is not compared."""
    pairs(tmp_path / "runs", "eca", BETTER, PLAINS)
    runs = [
        dataclasses.replace(r, result=dataclasses.replace(r.result, **other)) if r.result.attn == "eca" else r
        for r in read_finished_runs(RunStore(tmp_path / "runs"))
    ]
    known = claim_files.read_claim_files([claims_file(tmp_path, f"{ECA} > {PLAIN}")])
    [found] = judge.judge_claims(known, Evidence(CountCache(), SpeedStore(tmp_path), runs))
    assert found.outcome == "untested"


def test_untested_says_how_to_test(tmp_path):
    """No run of a network: which, and the command."""
    pairs(tmp_path / "runs", "se", BETTER, PLAINS)
    found = verdict(tmp_path, f"{ECA} > {PLAIN}")
    assert (found.outcome, found.parts[0].lacking) == ("untested", ("resnet20 + eca",))
    assert (
        found.command == f"attncli claims run c0 --file {tmp_path}/eca.yaml --dataset cifar10"
    )  # the claim names no dataset


def test_runs_of_different_recipes_are_not_compared(tmp_path):
    """Other epochs, other images, other seeds: nothing to pair."""
    for seed in range(4):
        run(tmp_path / "runs", attn="eca", seed=seed, top1=0.99)
        run(tmp_path / "runs", attn="none", seed=seed, top1=0.1, train__epochs=3)
        run(tmp_path / "runs", attn="none", seed=seed + 10, top1=0.1)
        run(tmp_path / "runs", attn="none", seed=seed, top1=0.1, data_digest="e" * 64)
    found = verdict(tmp_path, f"{ECA} > {PLAIN}")
    assert found.outcome == "untested"
    assert "share" in found.why


def test_images_cut_by_the_seed_are_paired_seed_by_seed(tmp_path):
    """With `data.subset_seed=run` each seed has images of its own: pairs are of equal images, and seeds add up."""
    for attn, accuracies, marks in (("eca", BETTER, "0123"), ("none", PLAINS, "012x")):
        for seed, (top1, mark) in enumerate(zip(accuracies, marks, strict=True)):
            keys = {"data__fraction": 0.5, "data__subset_seed": "run", "data_digest": mark * 64}
            run(tmp_path / "runs", attn=attn, seed=seed, top1=top1, planned=4, **keys)
    found = verdict(tmp_path, f"{ECA} > {PLAIN}")
    assert found.parts[0].seeds == (0, 1, 2)


def test_options_at_their_default_are_the_same_network(tmp_path):
    """eca[gamma=2] and eca @ gate are eca; eca[k=3] is not."""
    pairs(tmp_path / "runs", "eca", BETTER, PLAINS)
    same = [f"top1(resnet20 + eca{how}) > {PLAIN}" for how in ("[gamma=2.0]", " @ gate")]
    assert [v.outcome for v in verdicts(tmp_path, *same)] == ["holds", "holds"]
    assert verdict(tmp_path, f"top1(resnet20 + eca[k=3]) > {PLAIN}").outcome == "untested"


def test_transfer_is_told(tmp_path):
    """Claimed on ImageNet of ResNet-50 and tested on digits with ResNet-20: both are said."""
    pairs(tmp_path / "runs", "eca", BETTER, PLAINS)
    own = verdict(tmp_path, "top1(resnet50 + eca) > top1(resnet50)", on="imagenet")
    assert (own.outcome, own.labels) == ("untested", ())
    other = verdict(tmp_path, "top1(resnet50 + eca) > top1(resnet50)", on="imagenet", backbone="resnet20")
    assert other.outcome == "carries over"
    assert other.labels == (
        "on another network: resnet20 (claimed of resnet50)", "on another dataset: digits (claimed on imagenet)",
    )  # fmt: skip


def test_a_whole_network_is_not_held_against_a_smaller_one(tmp_path):
    """What compares a whole network with a backbone keeps that backbone: against another it would be another claim."""
    run(tmp_path / "runs", attn="vit", seed=0, top1=0.9)
    run(tmp_path / "runs", attn="none", seed=0, top1=0.8)
    found = verdict(tmp_path, "top1(vit) > top1(resnet50)", backbone="resnet20")
    assert (found.outcome, found.labels) == ("untested", ())


def test_a_dataset_that_is_asked_for_is_kept_to(tmp_path):
    """dataset= takes runs on that dataset alone."""
    pairs(tmp_path / "runs", "eca", BETTER, PLAINS)
    asked = "top1(resnet20 + eca, dataset=cifar10) > top1(resnet20, dataset=cifar10)"
    assert verdict(tmp_path, asked).outcome == "untested"
    assert verdict(tmp_path, asked.replace("cifar10", "digits")).outcome == "holds"


def test_judged_by_the_protocol_with_most_seeds(tmp_path):
    """Of two recipes the one with more pairs decides, whatever it says."""
    pairs(tmp_path / "runs", "eca", BETTER, PLAINS)
    pairs(tmp_path / "runs", "eca", [*PLAINS, 0.9], [*BETTER, 0.91], train__epochs=3)
    found = verdict(tmp_path, f"{ECA} > {PLAIN}")
    assert (found.outcome, found.n) == ("fails", 5)


def test_holm_over_the_table(tmp_path):
    """Of many claims that could be tested each must be surer, untested ones apart; filters change nothing."""
    slightly = [p + d for p, d in zip(PLAINS, [0.004, 0.009, 0.011, 0.007], strict=True)]
    pairs(tmp_path / "runs", "eca", slightly, PLAINS)
    check = f"{ECA} > {PLAIN}"
    alone = verdict(tmp_path, check)
    assert alone.outcome == "holds"
    assert alone.p == pytest.approx(alone.parts[0].p_holds)
    five = verdicts(tmp_path, *[check] * 5, "top1(resnet56) > top1(resnet20)")
    assert [v.p for v in five[:5]] == pytest.approx([5 * alone.p] * 5)
    assert {v.outcome for v in five[:5]} == {"undecided"}
    known = claim_files.read_claim_files([claims_file(tmp_path, *[check] * 5)])
    runs = tmp_path / "runs"
    evidence = Evidence(CountCache(), SpeedStore(runs), read_finished_runs(RunStore(runs)))
    (one,) = judge.judge_claims(known, evidence, requested=known[:1])
    assert (one.claim.id, one.p) == ("c0", five[0].p)


def test_an_and_holds_where_all_do(tmp_path):
    """The p of a claim is the largest of its parts'; one false exact part is enough to fail."""
    pairs(tmp_path / "runs", "eca", BETTER, PLAINS)
    both = verdict(tmp_path, f"{ECA} > {PLAIN} and {ECA} > {PLAIN} + 0.5 % and params(resnet20) > 0")
    assert both.outcome == "holds"
    assert both.p == pytest.approx(max(p.p_holds for p in both.parts if p.kind == "trained"))
    assert verdict(tmp_path, f"{ECA} > {PLAIN} and params(resnet20) < 0").outcome == "fails"


def test_chain_fails_by_its_part(tmp_path):
    """a > b > c fails where b is below c, and says which part."""
    pairs(tmp_path / "runs", "eca", PLAINS, BETTER)
    found = verdict(tmp_path, f"1 > {ECA} > {PLAIN}")
    assert found.outcome == "fails"
    assert [part.outcome for part in found.parts if part.text.startswith(ECA)] == ["fails"]
    found = verdict(tmp_path, f"{ECA} > {PLAIN} and {ECA} > 90.7 %")  # the second part is below, by chance
    assert (found.outcome, [part.outcome for part in found.parts]) == ("fails", ["fails", "undecided"])
    assert found.parts[1].slack < 0


def test_top5(tmp_path):
    """top5 takes the other figure of the runs."""
    for seed in range(3):
        run(tmp_path / "runs", attn="none", seed=seed, top1=0.1, top5=0.9 + seed / 1000)
    assert verdict(tmp_path, "top5(resnet20) > 50 %").outcome == "holds"


def test_top5_is_needed_wherever_it_stands(tmp_path):
    """Runs without it, as of three classes, do not test a comparison of both accuracies of one network."""
    for seed in range(3):
        run(tmp_path / "runs", attn="none", seed=seed, top1=0.1, top5=None, planned=3)
    for check in ("top5(resnet20) > top1(resnet20)", "top1(resnet20) < top5(resnet20)"):
        assert verdict(tmp_path, check).outcome == "untested"


def test_claims_without_a_check(tmp_path, monkeypatch):
    """A test shows a claim of attncli if there is that test, with its commit; what is untestable says why."""
    path = tmp_path / "eca.yaml"
    path.write_text(
        "- {id: a, kind: property, text: t, source: s, test: 'tests/x.py::y'}\n"
        "- {id: c, kind: property, text: t, source: s, test: 'tests/x.py::z'}\n"
        "- {id: b, kind: note, text: t, source: s, untestable: a matter of taste}\n"
    )
    evidence = Evidence(CountCache(), SpeedStore(tmp_path / "runs"))
    monkeypatch.setattr(claim_files, "CLAIMS_FOLDER", tmp_path)
    monkeypatch.setattr(judge, "load_claim_tests", lambda: {"tests/x.py::y": "abc1234"})
    a, c, b = judge.judge_claims(claim_files.read_claim_files([path]), evidence)
    assert (a.outcome, a.by, a.why) == ("shown by a test", "test", "tests/x.py::y (commit abc1234)")
    assert c.outcome == "untested"
    assert (b.outcome, b.why) == ("untestable", "a matter of taste")


def test_claims_of_a_user_name_no_test(tmp_path):
    """A claim in a file of one's own cannot hold by naming a test."""
    path = tmp_path / "eca.yaml"
    path.write_text("- {id: a, kind: property, text: t, source: s, test: 'tests/x.py::y'}\n")
    with pytest.raises(UserError, match="test: only claims of attncli itself"):
        claim_files.read_claim_files([path])


def test_words_say_what_was_tested(tmp_path):
    """A direction without its size, another network: other words than holds and fails."""
    pairs(tmp_path / "runs", "eca", BETTER, PLAINS)
    assert verdict(tmp_path, f"{ECA} > {PLAIN}", strength="direction").outcome == "holds (direction)"
    elsewhere = "top1(resnet50 + eca) > top1(resnet50)"
    assert verdict(tmp_path, elsewhere, backbone="resnet20").outcome == "carries over"
    against = "top1(resnet50 + eca) < top1(resnet50)"
    assert verdict(tmp_path, against, backbone="resnet20").outcome == "does not carry over"


def test_undertrained_networks_decide_nothing(tmp_path):
    """Before the plain network is within a point of its published figure there is no verdict, and it says why."""
    low = [top1 - 0.1 for top1 in PLAINS]
    pairs(tmp_path / "low" / "runs", "eca", [top1 - 0.1 for top1 in BETTER], low, data__name="cifar10")
    found = verdict(tmp_path / "low", f"{ECA} > {PLAIN}", on="cifar10")
    assert found.outcome == "undecided"
    assert "below the published 9" in found.why
    high = [0.9125 + d for d in (0.001, 0.0, 0.002, -0.001)]
    pairs(tmp_path / "high" / "runs", "eca", [0.923, 0.9225, 0.9245, 0.9216], high, data__name="cifar10")
    assert verdict(tmp_path / "high", f"{ECA} > {PLAIN}", on="cifar10").outcome == "holds"


def test_unknown_backbone_in_place_of_the_claims():
    """The nearest name is told."""
    from attncli.claims.evidence import gather_evidence

    with pytest.raises(UserError, match="resnet21"):
        gather_evidence(RunStore(Path("nowhere")), backbone="resnet21")


def test_verdicts_are_plain_values(tmp_path):
    """What --json prints has the claim, the verdict and every part, and no tree."""
    import json

    plain = json.loads(json.dumps(verdict(tmp_path, "params(resnet20) > 1").to_json_dict()))
    assert plain["id"] == "c0"
    assert plain["parts"][0]["outcome"] == "holds"
    assert "tree" not in plain
    assert {f.name for f in dataclasses.fields(claim_files.Claim)} - {"tree"} <= plain.keys()


def test_parts_of_every_kind_have_the_same_keys(tmp_path):
    """What --json prints of counted, timed and trained comparisons has the same keys."""
    pairs(tmp_path / "runs", "eca", BETTER, PLAINS)
    speed = "latency(resnet20) > 1 and latency(resnet20) < 2"
    checks = ("params(resnet20) > 1", speed, f"{ECA} > {PLAIN}")
    parts = [v.to_json_dict()["parts"][0] for v in verdicts(tmp_path, *checks)]
    assert [part["kind"] for part in parts] == ["counted", "timed", "trained"]
    assert parts[0].keys() == parts[1].keys() == parts[2].keys()
