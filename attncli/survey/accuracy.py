"""Comparisons of accuracy, decided by finished runs: paired seed by seed within one protocol.

A superiority claim (`a > b`, `a - b > 1 %`) is tested two-sided, so that it may fail as well as hold. A claim that
equal networks would fulfil (`a > b - 0.2 %`, `a ~ b +- 0.5 %`) is one of non-inferiority or equivalence: whether it
holds is tested one-sided (twice, for the two sides of `~`), whether it fails as strictly as any other.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from attncli.survey import language, stats
from attncli.survey.compare import MARGIN
from attncli.survey.evaluate import evaluate, neutral, slacks
from attncli.survey.finished import Trained
from attncli.survey.language import ACCURACY, Quantity
from attncli.survey.question import Question, network
from attncli.survey.stats import Estimate
from attncli.survey.verdict import Part

Runs = Mapping[str, Mapping[int, Trained]]  # of one protocol: by network, by seed


def decide(question: Question, runs: Sequence[Trained]) -> Part:
    """What the runs say; before the correction for many claims, and so without a verdict beyond "undecided"."""
    needed = {network(q): q for q in question.quantities() if q.name in ACCURACY}
    wanted = {dict(q.settings).get("dataset") for q in needed.values()} - {None}
    allowed = [
        run
        for run in runs
        if run.network in needed
        and (not wanted or run.dataset in wanted)
        and not (needed[run.network].name == "top5" and run.top5 is None)
    ]
    protocols: dict[str, dict[str, dict[int, Trained]]] = defaultdict(lambda: defaultdict(dict))
    for run in allowed:
        protocols[run.protocol][run.network].setdefault(run.seed, run)
    paired = {name: found for name, found in protocols.items() if _seeds(found, needed)}
    if not paired:
        return _untested(question, needed, allowed)
    on = next(iter(wanted), None) or question.on
    best = max(paired, key=lambda name: _worth(paired[name], needed, str(on)))
    return _tested(question, needed, paired[best], best)


def _seeds(runs: Runs, needed: Mapping[str, Quantity]) -> list[int]:
    """The seeds with which every network was trained."""
    return sorted(set.intersection(*(set(runs.get(name, {})) for name in needed)))


def _worth(runs: Runs, needed: Mapping[str, Quantity], on: str) -> tuple[bool, int, int, str]:
    """Which protocol to judge by, whatever it says: the claim's own dataset, most pairs, longest training."""
    run = next(iter(next(iter(runs.values())).values()))
    return run.dataset == on, len(_seeds(runs, needed)), run.recipe.train.epochs, run.protocol


def _untested(question: Question, needed: Mapping[str, Quantity], allowed: Sequence[Trained]) -> Part:
    there = {run.network for run in allowed}
    lacking = tuple(language.write(q.network) for name, q in needed.items() if name not in there)
    where = {dict(q.settings).get("dataset") for q in needed.values()} - {None}
    on = f" on {' and '.join(sorted(map(str, where)))}" if where else ""
    why = f"no finished run of {' and '.join(lacking)}{on}" if lacking else "no seed and recipe that all networks share"
    return Part(text=question.text, kind="trained", outcome="untested", why=why, lacking=lacking)


def _tested(question: Question, needed: Mapping[str, Quantity], runs: Runs, protocol: str) -> Part:
    seeds = _seeds(runs, needed)
    left, right, slack = _series(question, runs, seeds)
    middle = neutral(question.left, question.link, question.exact) or 0.0
    difference = stats.estimate([a - b - middle for a, b in zip(left, right, strict=True)])
    forgiving = _forgiving(question)
    p_holds, p_fails = chances(slack, forgiving)
    used = [runs[name][seed] for name in needed for seed in seeds]
    weakest = min(slack, key=stats.mean)
    return Part(
        text=question.text,
        kind="trained",
        outcome="undecided",
        left=stats.mean(left),
        right=stats.mean(right),
        difference=difference.mean,
        low=difference.low,
        high=difference.high,
        bound=-middle,
        n=len(seeds),
        sd=stats.sd(weakest),
        slack=stats.mean(weakest),
        p_holds=p_holds,
        p_fails=p_fails,
        power=_power(difference),
        forgiving=forgiving,
        dataset=used[0].dataset,
        protocol=protocol,
        seeds=tuple(seeds),
        digests=tuple(run.digest for run in used),
        run_ids=tuple(run.run_id for run in used if run.run_id),
    )


def _series(
    question: Question, runs: Runs, seeds: Sequence[int]
) -> tuple[list[float], list[float], list[tuple[float, ...]]]:
    """Both sides for each seed, and the slacks, one series for each thing that the comparison says."""
    left, right, slack = [], [], []
    for seed in seeds:

        def lookup(quantity: Quantity, seed: int = seed) -> float:
            if quantity.name not in ACCURACY:
                return question.exact(quantity)
            run = runs[network(quantity)][seed]
            return run.top1 if quantity.name == "top1" or run.top5 is None else run.top5  # None was passed over

        left.append(evaluate(question.left, lookup))
        right.append(evaluate(question.link.right, lookup))
        slack.append(slacks(question.left, question.link, lookup))
    return left, right, list(zip(*slack, strict=True))


def _forgiving(question: Question) -> bool:
    """Whether networks that do equally well would fulfil it."""
    if neutral(question.left, question.link, question.exact) is None:
        return False

    def alike(quantity: Quantity) -> float:
        return 0.5 if quantity.name in ACCURACY else question.exact(quantity)

    return min(slacks(question.left, question.link, alike)) > 1e-12


def chances(slack: Sequence[Sequence[float]], forgiving: bool) -> tuple[float | None, float | None]:
    """(p that such slacks come from a comparison that is false, p from one that is true); None for one seed."""
    above = [p for values in slack if (p := stats.above_test(values)) is not None]
    below = [p for values in slack if (p := stats.above_test([-v for v in values])) is not None]
    if len(above) < len(slack):
        return None, None
    sides = 1 if forgiving else 2
    return min(1.0, sides * max(above)), min(1.0, 2 * len(below) * min(below))


def _power(difference: Estimate) -> float | None:
    """The chance with which as many seeds find a true difference of half a point at this spread."""
    return stats.power(difference.n, difference.sd, MARGIN) if difference.sd else None


def more_seeds(part: Part, alpha: float) -> int | None:
    """About how many more seeds settle an undecided part, at the slack and spread seen; None where none would."""
    if not part.sd or not part.slack:
        return None
    level = 2 * alpha if part.forgiving and part.slack > 0 else alpha
    needed = stats.seeds_needed(part.sd, part.slack, alpha=level)
    return None if needed is None else max(1, needed - part.n)
