"""Comparisons of accuracy, decided by finished runs: paired seed by seed within one protocol.

A superiority claim (`a > b`, `a - b > 1 %`) is tested two-sided, so that it may fail as well as hold. A claim that
equal networks would fulfil (`a > b - 0.2 %`, `a ~ b +- 0.5 %`) is one of non-inferiority or equivalence: whether it
holds is tested one-sided (twice, for the two sides of `~`). Whether it fails is tested as strictly as any other claim.
"""

import statistics
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any

from attncli.analysis import stats
from attncli.analysis.compare import MARGIN
from attncli.analysis.conditions import describe_conditions
from attncli.analysis.failures import FailuresByRecipe, group_failures, select_failures
from attncli.analysis.network_key import RunIndex
from attncli.analysis.recipe_settings import list_other_settings, read_recipe_settings
from attncli.claims import language
from attncli.claims.accuracy_differences import list_accuracy_differences
from attncli.claims.comparison import ClaimComparison, find_network_key
from attncli.claims.evaluate import compute_slacks, evaluate_expression, find_null_difference
from attncli.claims.language import ACCURACY, Quantity
from attncli.claims.reference_accuracy import describe_shortfall
from attncli.claims.seed_numbers import compute_power, read_variant_plan
from attncli.claims.verdict import TrainedOutcome
from attncli.recipe import find_recipe_file
from attncli.runs import FailedRun, FinishedRun

RunsByNetwork = Mapping[str, Mapping[int, FinishedRun]]  # of one protocol: by network, by seed


def decide_accuracy(
    comparison: ClaimComparison,
    run_index: RunIndex,
    *,
    failures: Sequence[FailedRun] = (),
    planned_seeds: int | None = None,
) -> TrainedOutcome:
    """Test one comparison on finished runs.

    Args:
        comparison: The comparison.
        run_index: The finished runs by network and protocol.
        failures: Runs that failed; their seeds are counted, and nothing is decided without them.
        planned_seeds: How many seeds were planned before the first run, for runs that do not say so themselves.

    Returns:
        "undecided" if runs could test it, else "untested": the verdict follows after Holm's correction.
    """
    accuracies = [q for q in comparison.list_quantities() if q.name in ACCURACY]
    accuracies.sort(key=lambda q: q.name == "top5")  # of a network with both the last one stays: not all runs have it
    needed = {find_network_key(q): q for q in accuracies}
    datasets = _list_setting(accuracies, "dataset")
    protocols = _group_by_protocol(needed, datasets, _read_named_recipe(accuracies), run_index)
    paired_protocols = {
        name: runs_by_network
        for name, runs_by_network in protocols.items()
        if _find_shared_seeds(runs_by_network, needed)
    }
    if not paired_protocols:
        trained_networks = {network for runs_by_network in protocols.values() for network in runs_by_network}
        return _make_untested_outcome(comparison, needed, accuracies, trained_networks)
    dataset = next(iter(datasets), None) or comparison.on
    best_protocol = max(
        paired_protocols, key=lambda name: _rank_protocol(paired_protocols[name], needed, dataset, name)
    )
    runs = paired_protocols[best_protocol]
    outcome = _make_tested_outcome(comparison, needed, runs, best_protocol, planned_seeds)
    by_recipe = group_failures(failures)
    failed_seeds = {name: _find_failed_seeds(runs[name], by_recipe) for name in needed}
    all_seeds = {seed for name in needed for seed in (*runs[name], *failed_seeds[name])}
    missing_seeds = {s for name in needed for s in all_seeds - runs[name].keys() - failed_seeds[name]}
    return replace(
        outcome,
        shortfall=_find_shortfall(outcome, needed, runs, run_index),
        failure="; ".join(_describe_failure(q, failed_seeds[name]) for name, q in needed.items() if failed_seeds[name]),
        failed_seeds=tuple(sorted(set().union(*failed_seeds.values()))),
        missing_seeds=tuple(sorted(missing_seeds)),
    )


def _list_setting(accuracies: Sequence[Quantity], key: str) -> set[Any]:
    """Return the value that the accuracies of a comparison name for a setting, which is one, or nothing."""
    return {dict(quantity.settings).get(key) for quantity in accuracies} - {None}


def _read_named_recipe(accuracies: Sequence[Quantity]) -> dict[str, Any]:
    """Return what the recipe sets that a comparison names, {} if it names none. Raises UserError if it is not there."""
    names = _list_setting(accuracies, "recipe")
    return read_recipe_settings(find_recipe_file(Path(names.pop()))) if names else {}


def _find_failed_seeds(runs: Mapping[int, FinishedRun], failures: FailuresByRecipe) -> set[int]:
    """Return the seeds with which a network failed by the recipe of these runs, and that none of them finished."""
    folds = {run.recipe.data.fold for run in runs.values()}  # one, as the fold is part of the protocol
    conditions = describe_conditions(next(iter(runs.values())).result)  # all runs of a protocol have the same
    failed_runs = select_failures(failures, runs.values(), conditions)
    return {f.seed for f in failed_runs if f.recipe.data.fold in folds} - runs.keys()


def _describe_failure(quantity: Quantity, seeds: Set[int]) -> str:
    seed_text = ", ".join(map(str, sorted(seeds)))
    return f"seed{'s' * (len(seeds) > 1)} {seed_text} of {language.format_tree(quantity.network)} failed"


def _find_shortfall(
    outcome: TrainedOutcome, needed: Mapping[str, Quantity], runs: RunsByNetwork, run_index: RunIndex
) -> str:
    """Return why the runs are of networks that were not trained well enough for a verdict, "" if they were."""
    means = [statistics.fmean(run.result.test_top1 or 0.0 for run in runs[name].values()) for name in needed]
    base_names = [quantity.network.base.name for quantity in needed.values()]
    return describe_shortfall(base_names, outcome.dataset or "", outcome.protocol or "", run_index, means)


def _group_by_protocol(
    needed: Mapping[str, Quantity], datasets: Set[Any], settings: Mapping[str, Any], run_index: RunIndex
) -> dict[str, dict[str, dict[int, FinishedRun]]]:
    """Return the runs that the comparison can use, by protocol, network and seed; of equal seeds the first counts.

    Args:
        needed: The accuracies by network.
        datasets: The datasets that the comparison names, if any.
        settings: Those of the recipe that it names, by dotted key; none if it names none.
        run_index: The finished runs by network and protocol.
    """
    protocols: dict[str, dict[str, dict[int, FinishedRun]]] = {}
    for network, quantity in needed.items():
        for protocol, runs in run_index.get(network, {}).items():
            for run in runs:
                is_tested = quantity.name != "top5" or run.result.test_top5 is not None
                is_named = (not datasets or run.dataset in datasets) and not list_other_settings(run.recipe, settings)
                if is_tested and is_named:
                    by_seed = protocols.setdefault(protocol, {}).setdefault(network, {})
                    by_seed.setdefault(run.recipe.seed, run)
    return protocols


def _find_shared_seeds(runs: RunsByNetwork, needed: Mapping[str, Quantity]) -> list[int]:
    """Return the seeds with which every network was trained on the same images."""
    seeds = set.intersection(*(set(runs.get(name, {})) for name in needed))
    return sorted(s for s in seeds if len({runs[name][s].result.data_digest for name in needed}) == 1)


def _rank_protocol(
    runs: RunsByNetwork, needed: Mapping[str, Quantity], dataset: Any, protocol: str
) -> tuple[bool, int, int, str]:
    """Return what protocols are chosen by, whatever their runs say: the claim's dataset, most pairs, most epochs."""
    run = next(iter(next(iter(runs.values())).values()))
    return run.dataset == dataset, len(_find_shared_seeds(runs, needed)), run.recipe.train.epochs, protocol


def _make_untested_outcome(
    comparison: ClaimComparison,
    needed: Mapping[str, Quantity],
    accuracies: Sequence[Quantity],
    trained_networks: Set[str],
) -> TrainedOutcome:
    lacking = tuple(language.format_tree(q.network) for name, q in needed.items() if name not in trained_networks)
    dataset_text = "".join(f" on {name}" for name in _list_setting(accuracies, "dataset"))
    recipe_text = "".join(f" with the recipe {name}" for name in _list_setting(accuracies, "recipe"))
    why = (
        f"no finished run of {' and '.join(lacking)}{dataset_text}{recipe_text}"
        if lacking
        else "no seed and recipe that all networks share"
    )
    return TrainedOutcome(text=comparison.text, outcome="untested", why=why, lacking=lacking)


def _make_tested_outcome(
    comparison: ClaimComparison,
    needed: Mapping[str, Quantity],
    runs: RunsByNetwork,
    protocol: str,
    planned_seeds: int | None,
) -> TrainedOutcome:
    seeds = _find_shared_seeds(runs, needed)
    left_values, right_values, slack = _evaluate_by_seed(comparison, runs, seeds)
    differences = list_accuracy_differences(comparison, left_values, right_values, slack)
    difference = stats.estimate_mean(differences.by_seed)
    equal_slack = _find_equal_slack(comparison)
    forgiving = equal_slack > 1e-12
    p_holds, p_fails = compute_p_values(slack, forgiving)
    used_runs = [runs[name][seed] for name in needed for seed in seeds]
    weakest = min(slack, key=statistics.fmean)
    plan = read_variant_plan(used_runs, planned_seeds)
    return TrainedOutcome(
        text=comparison.text,
        outcome="undecided",
        left=statistics.fmean(left_values),
        right=statistics.fmean(right_values),
        difference=difference.mean,
        link=comparison.link,
        low=difference.low,
        high=difference.high,
        bound=differences.bound,
        tolerance=differences.tolerance,
        n=len(seeds),
        sd=stats.standard_deviation(weakest),
        slack=statistics.fmean(weakest),
        p_holds=p_holds,
        p_fails=p_fails,
        power=compute_power(difference, plan, forgiving),
        forgiving=forgiving,
        interest=equal_slack if forgiving else MARGIN,
        level=plan.choose_level(len(seeds)),
        next_level=plan.choose_next_level(len(seeds), len(seeds) + 1),
        planned_seeds=plan.planned,
        plan=plan,
        dataset=used_runs[0].dataset,
        protocol=protocol,
        seeds=tuple(seeds),
        digests=tuple(run.digest for run in used_runs),
        run_ids=tuple(run.result.run_id for run in used_runs if run.result.run_id),
    )


def _evaluate_by_seed(
    comparison: ClaimComparison, runs: RunsByNetwork, seeds: Sequence[int]
) -> tuple[list[float], list[float], list[tuple[float, ...]]]:
    """Return both sides by seed, and the slacks: one series per thing that the comparison says."""
    left_values, right_values, slack = [], [], []
    for seed in seeds:

        def read_quantity(quantity: Quantity, seed: int = seed) -> float:
            if quantity.name not in ACCURACY:
                return comparison.exact(quantity)
            run = runs[find_network_key(quantity)][seed]
            accuracy = run.result.test_top1 if quantity.name == "top1" else run.result.test_top5
            assert accuracy is not None  # runs that were not tested are not in the index
            return accuracy

        left_values.append(evaluate_expression(comparison.left, read_quantity))
        right_values.append(evaluate_expression(comparison.link.right, read_quantity))
        slack.append(compute_slacks(comparison.left, comparison.link, read_quantity))
    return left_values, right_values, list(zip(*slack, strict=True))


def _find_equal_slack(comparison: ClaimComparison) -> float:
    """Return by how much networks that do equally well would fulfil it; 0 if that depends on how well they do."""
    if find_null_difference(comparison.left, comparison.link, comparison.exact) is None:
        return 0.0

    def read_equal_value(quantity: Quantity) -> float:
        return 0.5 if quantity.name in ACCURACY else comparison.exact(quantity)

    return min(compute_slacks(comparison.left, comparison.link, read_equal_value))


def compute_p_values(slack: Sequence[Sequence[float]], forgiving: bool) -> tuple[float | None, float | None]:
    """Return the p values that such slacks come from a false comparison and from a true one; None for one seed."""
    above = [p for values in slack if (p := stats.one_sided_t_test(values)) is not None]
    below = [p for values in slack if (p := stats.one_sided_t_test([-v for v in values])) is not None]
    if len(above) < len(slack):
        return None, None
    sides = 1 if forgiving else 2
    return min(1.0, sides * max(above)), min(1.0, 2 * len(below) * min(below))
