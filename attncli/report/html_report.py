"""The report as one HTML file that needs neither network nor other files; its template is page.html.jinja."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from attncli.analysis.comparison_row import ComparisonRow
from attncli.analysis.deviation import PublishedFigure
from attncli.claims.verdict import OUTCOMES, ClaimVerdict
from attncli.report import claims, comparison, comparison_note, published_tables
from attncli.report.column_layout import split_name
from attncli.report.comparison_remarks import list_remarks
from attncli.report.cost_figures import draw_cost_chart
from attncli.report.curve_figure import RunEpochs, draw_learning_curves
from attncli.report.difference_figures import draw_differences

FOLDER, TEMPLATE = Path(__file__).parent, "page.html.jinja"
ONE_SEED = "of one seed"  # a caption


@dataclass(frozen=True)
class TableOrigin:
    """Where a table's runs come from: the machines, the recipe as YAML, the commands that make them again."""

    machines: Sequence[str]
    recipe: str
    commands: Sequence[str]


@dataclass(frozen=True)
class ReportData:
    """What a report says; `epochs` and `origins` by the title of a comparison."""

    title: str
    generated_by: str  # when, with what version
    verdicts: Sequence[ClaimVerdict]
    rows: Sequence[ComparisonRow]
    figures: Sequence[PublishedFigure] = ()
    epochs: Mapping[str, RunEpochs] = field(default_factory=dict)
    origins: Mapping[str, TableOrigin] = field(default_factory=dict)
    report_commands: Sequence[str] = ()  # the commands that make this report again
    claims_title: str = "Claims of the literature"


@dataclass(frozen=True)
class Chart:
    """A figure of the page with its caption."""

    svg: str
    name: str
    caption: str


def render_html(report_data: ReportData) -> str:
    """Return the whole page."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _mark_breaks
    environment.filters["code"] = _mark_code
    environment.filters["slug"] = _make_slug
    return (
        environment.get_template(TEMPLATE).render(
            report=report_data,
            groups=_list_groups(report_data),
            outcome_counts=_count_outcomes(report_data.verdicts),
            claim_groups=_group_by_card(report_data.verdicts),
            comparison_columns=[*comparison.COLUMNS, comparison.VERDICT],
            comparison_note=comparison_note.explain_columns(report_data.rows),
            format_verdict_figures=claims.format_verdict_figures,
            list_verdict_lines=claims.list_verdict_lines,
            claims_note=claims.NOTE,
            published_columns=published_tables.COLUMNS,
            published_lines=published_tables.list_figure_lines(report_data.figures),
            disagreements=published_tables.list_disagreements(report_data.figures),
            published_note=published_tables.NOTE,
            style=Markup((FOLDER / "page.css").read_text(encoding="utf-8")),
            script=Markup((FOLDER / "page.js").read_text(encoding="utf-8")),
        )
        + "\n"
    )


def _count_outcomes(verdicts: Sequence[ClaimVerdict]) -> list[tuple[str, int, str]]:
    """Return (outcome, number of claims, the outcome's name for that number) for each outcome that occurs."""
    counts = Counter(verdict.outcome for verdict in verdicts)
    return [
        (outcome, counts[outcome], claims.inflect_outcome(outcome, counts[outcome]))
        for outcome in OUTCOMES
        if counts[outcome]
    ]


def _group_by_card(verdicts: Sequence[ClaimVerdict]) -> list[tuple[str, list[ClaimVerdict]]]:
    """Return the verdicts by mechanism, in the order in which the mechanisms occur first."""
    cards = list(dict.fromkeys(verdict.claim.card for verdict in verdicts))
    ordered = sorted(verdicts, key=lambda verdict: cards.index(verdict.claim.card))
    return [(card, list(group)) for card, group in groupby(ordered, lambda verdict: verdict.claim.card)]


def _list_groups(report_data: ReportData) -> list[dict[str, Any]]:
    """Return what the page shows of each dataset, backbone and recipe."""
    return [
        {
            "title": title,
            "rows": rows,
            "remarks": list_remarks(rows),
            "charts": draw_charts(rows, report_data.epochs.get(title, {})),
            "origin": report_data.origins.get(title),
        }
        for title, rows in comparison.group_comparison_rows(report_data.rows)
    ]


def choose_captions(rows: Sequence[ComparisonRow]) -> tuple[str, str, str]:
    """Return what differences, accuracies and learning curves are; of single seeds there are no intervals."""
    if all(row.accuracy.n == 1 for row in rows):
        return ONE_SEED, ONE_SEED, ONE_SEED
    has_pairs = any(row.difference is not None and row.difference.n > 1 for row in rows)
    confidence = comparison_note.format_confidence(rows)
    return (
        f"paired seed by seed; {confidence} intervals, for all variants together" if has_pairs else ONE_SEED,
        "mean over seeds with its 95 % interval",
        "mean over seeds, and from the worst to the best seed",
    )


def draw_charts(rows: Sequence[ComparisonRow], epochs: RunEpochs) -> list[Chart]:
    """Return the figures of one comparison, without those for which the runs lack the data."""
    difference, mean, curve = choose_captions(rows)
    charts = [
        (
            draw_differences(rows),
            "Difference to the plain network",
            difference,
        ),
        (
            draw_cost_chart(rows, "params"),
            "Accuracy against parameters",
            mean,
        ),
        (
            draw_cost_chart(rows, "macs"),
            "Accuracy against MACs",
            mean,
        ),
        (
            draw_cost_chart(rows, "train-time"),
            "Accuracy against training time",
            "timed in turn with the plain network",
        ),
        (
            draw_learning_curves(rows, epochs),
            "Learning curves",
            curve,
        ),
    ]
    return [Chart(Markup(svg), name, caption) for svg, name, caption in charts if svg]


def _make_slug(outcome: str) -> str:
    """Return the name of an outcome as one word, which is a class of page.css."""
    return "-".join(re.findall(r"\w+", outcome))


def _mark_code(text: str) -> Markup:
    """Return text in which what stands in backticks is code."""
    parts = text.split("`")
    return Markup("").join(Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in enumerate(parts))


def _mark_breaks(text: str) -> Markup:
    """Return text in which long names may be broken at their marks."""
    return Markup("<wbr>").join(split_name(text))
