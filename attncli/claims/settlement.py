"""The verdicts on claims about accuracy: the p values of all claims that runs tested are corrected together.

Holm's correction is done separately for holding and for failing. What is not significant then stays undecided, with the
number of seeds that would decide it.
"""

import itertools
from collections.abc import Sequence
from dataclasses import replace

from attncli.analysis import stats
from attncli.claims import seed_numbers
from attncli.claims.verdict import (
    ClaimVerdict,
    ComparisonOutcome,
    Outcome,
    TrainedOutcome,
)


def settle_verdicts(drafts: Sequence[ClaimVerdict]) -> list[ClaimVerdict]:
    """Return the verdicts, those that depend on the other claims decided or with what is needed to decide them."""
    ps = [_combine_p_values(draft.parts) for draft in drafts]
    holds, fails = stats.holm([p for p, _ in ps]), stats.holm([p for _, p in ps])
    tests = sum(p is not None for p in holds)
    verdicts = [_settle_verdict(draft, p, q, tests) for draft, p, q in zip(drafts, holds, fails, strict=True)]
    return [verdict if verdict.p is None else replace(verdict, family=tests) for verdict in verdicts]


def _combine_p_values(parts: Sequence[ComparisonOutcome]) -> tuple[float | None, float | None]:
    """Return the p values of a claim of these parts: that it holds by chance, that it fails by chance.

    They are (None, None) if runs could not test all of it.
    """
    trained = [part for part in parts if isinstance(part, TrainedOutcome)]
    if not trained or any(part.p_holds is None for part in trained):
        return None, None
    p_fails = [part.p_fails for part in trained if part.p_fails is not None]
    return max(part.p_holds or 0.0 for part in trained), min(1.0, len(p_fails) * min(p_fails))


def _settle_verdict(draft: ClaimVerdict, p_holds: float | None, p_fails: float | None, tests: int) -> ClaimVerdict:
    trained = [part for part in draft.parts if isinstance(part, TrainedOutcome) and part.n]
    if not trained or draft.outcome not in ("undecided", "untested"):
        return draft
    obstacle = _describe_obstacle(trained, p_holds, p_fails)
    level = min((part.level or 0.0) for part in trained)
    counted = replace(draft, n=min(part.n for part in trained))
    if not obstacle and p_fails is not None and p_fails < level:
        return _mark_decided(counted, "fails", p_fails)
    if draft.outcome == "untested":
        return draft
    if p_holds is None or p_fails is None:
        return replace(counted, why=obstacle)
    p = min(p_holds, p_fails)
    if obstacle:
        return replace(counted, p=p, why=obstacle)
    if p_holds >= level:
        return _mark_undecided(counted, trained, p, max(1, tests))
    if all(part.outcome == "holds" for part in draft.parts if not isinstance(part, TrainedOutcome)):
        return _mark_decided(counted, "holds", p_holds)
    return replace(counted, p=p, command=None)  # more seeds do not settle what other parts lack


def _describe_obstacle(trained: Sequence[TrainedOutcome], p_holds: float | None, p_fails: float | None) -> str:
    """Return why the runs decide nothing, whatever their p values are; "" if they may."""
    if p_holds is None or p_fails is None:
        return _explain_untestable(trained)
    if failures := dict.fromkeys(part.failure for part in trained if part.failure):
        return f"not judged: {'; '.join(failures)}"
    if shortfalls := dict.fromkeys(part.shortfall for part in trained if part.shortfall):
        return "; ".join(shortfalls)
    return "" if all(part.level for part in trained) else _explain_too_early(trained)


def _explain_untestable(trained: Sequence[TrainedOutcome]) -> str:
    return (
        "one seed cannot tell an effect from chance" if min(p.n for p in trained) == 1 else "not all of it was tested"
    )


def _mark_decided(draft: ClaimVerdict, outcome: Outcome, p: float) -> ClaimVerdict:
    """Return the verdict as decided; of a failed claim the part with the smallest p value failed."""
    trained = [part for part in draft.parts if isinstance(part, TrainedOutcome)]
    decisive = min(trained, key=lambda part: 1.0 if part.p_fails is None else part.p_fails)
    decided = trained if outcome == "holds" else [decisive]
    parts = [
        replace(part, outcome=outcome) if any(part is other for other in decided) else part for part in draft.parts
    ]
    return replace(draft, outcome=outcome, p=p, parts=tuple(parts), why="", command=None)


def _explain_too_early(trained: Sequence[TrainedOutcome]) -> str:
    """Return why no verdict is possible yet: the planned seeds are not all finished, or no plan is so small."""
    planned = max((part.planned_seeds or 0) for part in trained)
    finished = min(part.n for part in trained)
    if planned > finished:
        return f"no verdict yet: {planned} seeds are planned, {finished} finished"
    return "two seeds are too few unless two were planned"


def _mark_undecided(draft: ClaimVerdict, trained: Sequence[TrainedOutcome], p: float, tests: int) -> ClaimVerdict:
    """Return the verdict as undecided, with a range of seeds that find the difference of interest at this spread."""
    plans = [seed_numbers.plan_seeds(part, tests) for part in trained]
    lows, highs = [low for low, _ in plans if low is not None], [high for _, high in plans if high is not None]
    if len(lows) < len(plans):
        return replace(draft, p=p, why="the seeds scatter too much for any number of them to settle it")
    finished, low = draft.n or 0, max(lows)
    high = max(low, *highs) if len(highs) == len(plans) else None
    count = f"{low:,} or more" if high is None else f"{low:,}" if high == low else f"{low:,} to {high:,}"
    return replace(
        draft,
        p=p,
        more_seeds=low - finished,
        most_more_seeds=None if high is None else high - finished,
        why=f"{count} seeds in all would settle it at this spread",
        command=f"{draft.command} --seeds {_format_seeds(trained, low)}",
    )


def _format_seeds(trained: Sequence[TrainedOutcome], count: int) -> str:
    """Return so many seeds as `--seeds` takes them: those that were trained, and the next ones from 0 on."""
    used_seeds = sorted({seed for part in trained for seed in part.seeds})
    if all(seed < count for seed in used_seeds):
        return str(count)
    unused_seeds = (seed for seed in itertools.count() if seed not in used_seeds)
    return ",".join(map(str, [*used_seeds, *itertools.islice(unused_seeds, max(0, count - len(used_seeds)))]))
