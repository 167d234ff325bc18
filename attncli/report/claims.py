"""Claims and their verdicts as text: a table, or one claim with all its evidence."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from attncli.analysis import stats
from attncli.claims.language import Number, format_tree
from attncli.claims.missing_runs import ClaimTraining
from attncli.claims.next_step import needs_root
from attncli.claims.schedules import FAST_TWINS
from attncli.claims.verdict import OUTCOMES, ClaimVerdict, ComparisonOutcome, TimedOutcome, TrainedOutcome
from attncli.quantities import format_numbers, format_quantity
from attncli.report import table
from attncli.report.comparison_cells import format_half_interval, format_p_value
from attncli.report.table import MISSING, WIDTH, Column
from attncli.system.terminal import fill_text

NOTE = (
    "counted: exact. timed: median over rounds in turn with its 95 % interval, in one process; the next may differ "
    "by one or two percent. trained: difference in points with its 95 % interval for this claim alone, paired over n "
    "seeds (n 2/3: of three, others failed or are missing); p, which decides, is corrected for all claims that runs "
    "could test (Holm). * a remark, such as another dataset, network or schedule than the claim's: `attncli claims "
    "ID -v`. DIR: the folder that holds images that attncli cannot download."
)
PLURALS = {
    "holds": "hold", "holds (direction)": "hold (direction)", "carries over": "carry over", "fails": "fail",
    "does not carry over": "do not carry over",
}  # fmt: skip


def render_verdicts(verdicts: Sequence[ClaimVerdict], width: int = WIDTH) -> str:
    """Return the table, the number of claims per verdict, and what the figures mean."""
    legend = fill_text(NOTE, width)
    text_table = table.render_text_table(COLUMNS, verdicts, width=width).strip("\n")
    return f"{text_table}\n\n{fill_text(summarize_verdicts(verdicts), width)}\n\n{legend}"


def summarize_verdicts(verdicts: Sequence[ClaimVerdict]) -> str:
    """Return how many claims there are of each verdict."""
    counts = Counter(v.outcome for v in verdicts)
    counted_outcomes = [
        f"{counts[outcome]} {inflect_outcome(outcome, counts[outcome])}" for outcome in OUTCOMES if counts[outcome]
    ]
    family = max((verdict.family for verdict in verdicts), default=0)
    corrected = f"; p values corrected for {format_quantity(family, 'claim')}" if family else ""
    return f"{format_quantity(len(verdicts), 'claim')}: {', '.join(counted_outcomes)}{corrected}"


def inflect_outcome(outcome: str, count: int) -> str:
    """Return a verdict in the singular or plural."""
    return outcome if count == 1 else PLURALS.get(outcome, outcome)


def format_verdict_figures(verdict: ClaimVerdict) -> str:
    """Return the figures behind a verdict, or the command that tests the claim if nothing has tested it."""
    if verdict.by == "test":
        return (verdict.claim.test or "").partition("::")[0].rpartition("/")[2]
    if verdict.by == "nothing":
        return verdict.why
    if verdict.outcome == "untested" and verdict.command:
        return verdict.command
    pieces = [format_part_figures(part) for part in verdict.parts]
    if verdict.p is not None:
        pieces.append(f"p {format_p_value(verdict.p, _find_level(verdict))}")
    if verdict.outcome == "undecided" and verdict.more_seeds:
        most = verdict.most_more_seeds
        least = f"{verdict.more_seeds:,}"
        count = least if most in (None, verdict.more_seeds) else f"{least} to {most:,}"
        pieces.append(f"{count} more seed{'s' * (count != '1')}{' at least' if most is None else ''}")
    pieces += [part.failure for part in verdict.parts if isinstance(part, TrainedOutcome)]
    if verdict.budget and verdict.outcome != "untested":
        pieces.append(verdict.budget.describe_epochs())
        if verdict.budget.image_share is not None and verdict.budget.image_share < 1:
            pieces.append(f"{100 * verdict.budget.image_share:.2g} % of the images")
    return "; ".join(dict.fromkeys(text for text in pieces if text)) or verdict.why or MISSING


def _find_level(verdict: ClaimVerdict) -> float:
    """Return the level that the verdict's p value was judged at, or 5 % if it was not judged yet."""
    levels = [part.level for part in verdict.parts if isinstance(part, TrainedOutcome) and part.level]
    return min(levels, default=stats.ALPHA)


def _format_seed_count(part: TrainedOutcome) -> str:
    """Return the number of pairs; if seeds failed or are missing, of how many."""
    lost = len({*part.failed_seeds, *part.missing_seeds})
    return f"{part.n}/{part.n + lost}" if lost else str(part.n)


def format_part_figures(part: ComparisonOutcome) -> str:
    """Return the figures of one comparison."""
    if part.outcome == "untested" or part.left is None or part.right is None or part.link is None:
        return part.why
    if isinstance(part, TrainedOutcome):
        return f"{format_part_difference(part)}{_format_bound(part)}, n {_format_seed_count(part)}"
    sign = part.link.sign
    if sign == "==" and part.left == part.right:
        return format_number(part.left)
    left_text, right_text = format_number(part.left), format_number(part.right)
    if part.link.tolerance is not None:  # of ~; as the claim's check writes it, which may be in percent
        right_text += f" ±{format_tree(part.link.tolerance)}"
    if not isinstance(part, TimedOutcome) or part.low is None or part.high is None:
        return f"{left_text} {sign} {right_text}"
    if isinstance(part.link.right, Number) and part.link.tolerance is None:  # the right side has no spread
        interval = f"{format_number(part.low + part.right)} to {format_number(part.high + part.right)}"
        return f"{left_text} ({interval}) {sign} {right_text}"
    return f"{left_text} {sign} {right_text} (difference {format_number(part.low)} to {format_number(part.high)})"


def _format_bound(part: TrainedOutcome) -> str:
    """Return what a difference of accuracies is compared with, in points; nothing for 0."""
    words = [format_points(part.bound)] if part.bound else []
    words += [] if part.tolerance is None else [f"±{100 * part.tolerance:.2f}"]
    return f" against {' '.join(words)}" if words else ""


def format_part_difference(part: TrainedOutcome) -> str:
    """Return a difference of accuracies with half its interval, in points."""
    half = "" if part.low is None or part.high is None else f" ±{format_half_interval((part.high - part.low) / 2)}"
    return f"{format_points(part.difference)}{half}"


def format_points(value: float | None) -> str:
    """Return a fraction as signed points."""
    return MISSING if value is None else f"{100 * value:+.2f}"


def format_number(value: float | None) -> str:
    """Return a number: integers in full, others with four digits."""
    if value is None:
        return MISSING
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    if not math.isfinite(value):
        return "unbounded"
    if abs(value) >= 1e5:
        return f"{value:,.0f}"
    return f"{value:.4g}" if float(f"{value:.4g}") != round(value) else f"{value:.6g}"  # 1.00002 is not 1


def _label_claim(verdict: ClaimVerdict) -> str:
    return verdict.claim.id + (" *" if verdict.labels else "")


COLUMNS: list[Column[ClaimVerdict]] = [
    Column("claim", _label_claim, right=False),
    Column("kind", lambda v: v.claim.kind, right=False),
    Column("verdict", lambda v: v.outcome, right=False),
    Column("figures", format_verdict_figures, right=False),
]


def render_details(verdict: ClaimVerdict, width: int = WIDTH) -> str:
    """Return everything about one claim, wrapped to lines."""
    return "\n".join(
        [verdict.claim.id, *(_fill_line(label, text, width) for label, text in list_verdict_lines(verdict))]
    )


def list_verdict_lines(verdict: ClaimVerdict) -> list[tuple[str, str]]:
    """Return everything about one claim as labels and texts; a text without a label continues the one above it."""
    claim = verdict.claim
    lines: list[tuple[str, str]] = [
        ("Claim", claim.text),
        ("Source", claim.source + (f", on {claim.on}" if claim.on else "")),
        ("Check", claim.check or claim.test or "none"),
        ("Verdict", verdict.outcome + (f": {verdict.why}" if verdict.why else "")),
    ]
    lines += [("But", label) for label in verdict.labels]
    lines += [("Counted", f"{text} = {format_number(value)}") for text, value in verdict.values]
    for part in verdict.parts:
        lines += _list_part_lines(part)
    if verdict.budget:
        lines.append(("Budget", verdict.budget.describe()))
    if verdict.p is not None:
        family = format_quantity(verdict.family, "claim")
        lines.append(("p", f"{format_p_value(verdict.p, _find_level(verdict))}, corrected for {family} (Holm)"))
    lines += [(label, text) for label, text in (("Note", claim.note), ("Others", claim.evidence)) if text]
    if verdict.command:
        lines.append(("Next", verdict.command))
    return lines


def _list_part_lines(part: ComparisonOutcome) -> list[tuple[str, str]]:
    """Return the lines of one comparison: its text, figures and where they come from."""
    lines = [("Part", f"{part.text}: {part.outcome}"), ("", format_part_figures(part))]
    if isinstance(part, TrainedOutcome) and part.n:
        kind = "no worse, one-sided" if part.forgiving else "two-sided"
        if part.p_holds is not None:
            lines.append(
                (
                    "",
                    f"p {format_p_value(part.p_holds)} against 'it is not so', "
                    f"{format_p_value(part.p_fails)} against 'it is so' ({kind})",
                )
            )
        if part.power is not None:
            chance = f"{part.n} seeds find half a point with a chance of {100 * part.power:.0f} %"
            lines.append(("", f"{chance}, at its level, if it were the only claim"))
        lines.append(("Runs", f"on {part.dataset}, {format_numbers('seed', part.seeds)}: {' '.join(part.digests)}"))
        for name, seeds in (("Failed", part.failed_seeds), ("Missing", part.missing_seeds)):
            if seeds:
                lines.append((name, format_numbers("seed", seeds)))
        if part.run_ids:
            lines.append(("MLflow", " ".join(part.run_ids)))
    if isinstance(part, TimedOutcome) and part.measured:
        lines.append(("Timed", f"{part.n} rounds on {part.measured}"))
    return lines


def _fill_line(label: str, text: str, width: int) -> str:
    return fill_text(text, width, first=f"  {label:9}", later=" " * 11)


def describe_trainings(trainings: Sequence[ClaimTraining]) -> str:
    """Return one line per recipe that claims are trained with: its name, its budget, and images that are not here."""
    lines = []
    for file in dict.fromkeys(training.file for training in trainings):
        recipes = [training.recipe for training in trainings if training.file == file]
        epochs = " or ".join(f"{n}" for n in sorted({recipe.train.epochs for recipe in recipes}))
        datasets = list(dict.fromkeys(recipe.data.name for recipe in recipes))
        unit = "epoch" if epochs == "1" else "epochs"
        text = f"recipe {file.stem} ({file}): {epochs} {unit} of {' and '.join(datasets)}"
        if file.stem in FAST_TWINS:
            text += "; --fast takes a short schedule"
        lines.append(text)
        lines += [
            f"  {name} is not here: --data-root DIR names the folder that holds it"
            for name in datasets
            if needs_root(name) and any(r.data.root is None for r in recipes if r.data.name == name)
        ]
    return "\n".join(lines)


def list_csv_rows(verdicts: Sequence[ClaimVerdict]) -> list[dict[str, Any]]:
    """Return one flat row per claim, for CSV."""
    return [
        {
            "id": v.claim.id,
            "mechanism": v.claim.card,
            "kind": v.claim.kind,
            "verdict": v.outcome,
            "by": v.by,
            "figures": format_verdict_figures(v),
            "p": v.p,
            "n": v.n,
            "more_seeds": v.more_seeds,
            "labels": "; ".join(v.labels),
            "budget": v.budget.describe() if v.budget else None,
            "why": v.why,
            "command": v.command,
            "text": v.claim.text,
            "check": v.claim.check,
            "source": v.claim.source,
            "on": v.claim.on,
            "note": v.claim.note,
        }
        for v in verdicts
    ]
