"""The report: one HTML file that needs nothing beside it, neither network nor other files."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TypeVar

from attncli.analysis.compare import ComparisonRow
from attncli.claims.verdict import OUTCOMES, ClaimVerdict
from attncli.literature.deviation import PublishedFigure
from attncli.records import Epoch
from attncli.report import charts, claims, comparison, published_tables
from attncli.report.table import Column

R = TypeVar("R")
STYLE, SCRIPT = (Path(__file__).with_name(name) for name in ("page.css", "page.js"))


@dataclass(frozen=True)
class TableOrigin:
    """Where a table's runs come from: the machines, the recipe as YAML, the commands that make them again."""

    machines: Sequence[str]
    recipe: str
    commands: Sequence[str]


@dataclass(frozen=True)
class ReportData:
    """What a report tells; `epochs` and `origins` by the title of a comparison (of the epochs, then by variant)."""

    title: str
    generated_by: str  # when, with what version
    verdicts: Sequence[ClaimVerdict]
    rows: Sequence[ComparisonRow]
    figures: Sequence[PublishedFigure] = ()
    epochs: Mapping[str, Mapping[str, Sequence[Sequence[Epoch]]]] = field(default_factory=dict)
    origins: Mapping[str, TableOrigin] = field(default_factory=dict)
    report_commands: Sequence[str] = ()  # the commands that make this report again


def render_html(report_data: ReportData) -> str:
    """The whole page."""
    parts = [_render_header(report_data), _render_tiles(report_data.verdicts)]
    parts += [f"<h2 id=runs>Runs</h2>{_render_runs(report_data)}"] if report_data.rows else []
    parts += (
        [f"<h2 id=claims>Claims of the literature</h2>{_render_claims(report_data.verdicts)}"]
        if report_data.verdicts
        else []
    )
    parts += (
        [f"<h2 id=published>Published figures</h2>{_render_published_section(report_data.figures)}"]
        if report_data.figures
        else []
    )
    parts.append(f"<h2 id=again>Again</h2>{_render_commands(report_data.report_commands)}")
    script = f"<script>{SCRIPT.read_text()}</script>" if report_data.verdicts else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(report_data.title)}</title><style>{STYLE.read_text()}</style></head>"
        f"<body>{''.join(parts)}{script}</body></html>\n"
    )


def _render_header(report_data: ReportData) -> str:
    sections = (
        ("runs", report_data.rows),
        ("claims", report_data.verdicts),
        ("published", report_data.figures),
        ("again", True),
    )
    links = "".join(f'<a href="#{name}">{name.capitalize()}</a>' for name, is_present in sections if is_present)
    heading = f"<h1>{escape(report_data.title)}</h1><p class=soft>{escape(report_data.generated_by)}</p>"
    return f"<header>{heading}<nav>{links}</nav></header>"


def _render_tiles(verdicts: Sequence[ClaimVerdict]) -> str:
    """How many claims there are of each verdict."""
    counts = Counter(v.outcome for v in verdicts)
    tiles = [
        f'<li class="{o}"><b>{counts[o]}</b>{claims.inflect_outcome(o, counts[o])}</li>' for o in OUTCOMES if counts[o]
    ]
    return f"<ul class=tiles>{''.join(tiles)}</ul>" if tiles else ""


def _render_runs(report_data: ReportData) -> str:
    """A block for each dataset, backbone and recipe."""
    blocks = []
    for title, rows in comparison.group_comparison_rows(report_data.rows):
        drawn = _render_charts(rows, report_data.epochs.get(title, {}))
        origin = report_data.origins.get(title)
        table = _render_html_table([*comparison.COLUMNS, comparison.VERDICT], rows)
        blocks.append(f"<h3>{escape(title)}</h3>{table}{drawn}{_render_origin(origin) if origin else ''}")
    return f"{''.join(blocks)}<p class=soft>{escape(comparison.NOTE)}</p>"


def _render_charts(rows: Sequence[ComparisonRow], epochs: Mapping[str, Sequence[Sequence[Epoch]]]) -> str:
    drawn = (
        (charts.draw_forest(rows), "Difference to the plain network", "paired seed by seed, with its 95 % interval"),
        (
            charts.draw_cost_chart(rows, lambda r: r.params_pct, "parameters, % over the plain network"),
            "Accuracy against parameters",
            "mean over seeds with its 95 % interval",
        ),
        (
            charts.draw_cost_chart(rows, lambda r: r.macs_pct, "multiply-accumulates, % over the plain network"),
            "Accuracy against MACs",
            "mean over seeds with its 95 % interval",
        ),
        (
            charts.draw_cost_chart(
                rows, lambda r: 1 / r.train_ratio if r.train_ratio else None, "training time over plain"
            ),
            "Accuracy against training time",
            "timed in turn with the plain network",
        ),
        (charts.draw_learning_curves(rows, epochs), "Learning curves", "mean over seeds, from the worst to the best"),
    )
    figures = [
        f"<figure>{svg}<figcaption><b>{name}</b>: {what}</figcaption></figure>" for svg, name, what in drawn if svg
    ]
    return f"<div class=charts>{''.join(figures)}</div>" if figures else ""


def _render_origin(origin: TableOrigin) -> str:
    machines = "".join(f"<p>{escape(machine)}</p>" for machine in origin.machines)
    return (
        f"<details><summary>Machine, recipe, and how to make these runs again</summary><div>{machines}"
        f"{_render_commands(origin.commands)}<pre><code>{escape(origin.recipe)}</code></pre></div></details>"
    )


def _render_commands(commands: Sequence[str]) -> str:
    return f"<pre><code>{escape(chr(10).join(commands))}</code></pre>" if commands else ""


def _render_claims(verdicts: Sequence[ClaimVerdict]) -> str:
    """The claims by mechanism, each with all it rests on when it is opened."""
    chips = "".join(
        f'<button value="{o}" aria-pressed="false">{o}</button>'
        for o in OUTCOMES
        if any(v.outcome == o for v in verdicts)
    )
    search = '<input type="search" placeholder="search" aria-label="Search the claims">'
    groups = []
    for card in dict.fromkeys(v.claim.card for v in verdicts):
        items = "".join(_render_claim(v) for v in verdicts if v.claim.card == card)
        groups.append(f"<section class=group><h3>{escape(card)}</h3>{items}</section>")
    return f"<div class=chips hidden>{chips}{search}</div>{''.join(groups)}<p class=soft>{escape(claims.NOTE)}</p>"


def _render_claim(verdict: ClaimVerdict) -> str:
    figures_text = (
        ""
        if verdict.by in ("test", "nothing")
        else f"<span class=figures>{escape(claims.format_verdict_figures(verdict))}</span>"
    )
    labels = f"<span class=figures>{escape('; '.join(verdict.labels))}</span>" if verdict.labels else ""
    definitions = "".join(
        f"<dt>{escape(label)}</dt><dd>{escape(text)}</dd>" for label, text in claims.list_verdict_lines(verdict)[1:]
    )
    name = f"<span>{escape(verdict.claim.text)} <code>{escape(verdict.claim.id)}</code></span>"
    summary = f"{name}<span class=badge>{verdict.outcome}</span>{figures_text}{labels}"
    details = f"<summary>{summary}</summary><div><dl>{definitions}</dl></div>"
    return f'<details class="claim {verdict.outcome}">{details}</details>'


def _render_published_section(figures: Sequence[PublishedFigure]) -> str:
    """Ours beside what is in print, then where the sources disagree."""
    disagreements = "".join(f"<li>{escape(line)}</li>" for line in published_tables.list_disagreements(figures))
    disagreement_block = (
        f"<details><summary>Where sources disagree</summary><div><ul>{disagreements}</ul></div></details>"
        if disagreements
        else ""
    )
    html_table = _render_html_table(published_tables.COLUMNS, published_tables.list_figure_lines(figures))
    return f"{html_table}{disagreement_block}<p class=soft>{escape(published_tables.NOTE)}</p>"


def _render_html_table(columns: Sequence[Column[R]], rows: Sequence[R]) -> str:
    head = "".join(f"<th{_choose_cell_class(c)}>{escape(c.heading)}</th>" for c in columns)
    body = "".join(
        f"<tr>{''.join(f'<td{_choose_cell_class(c)}>{escape(c.cell(row))}</td>' for c in columns)}</tr>" for row in rows
    )
    return f"<div class=scroll><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _choose_cell_class(column: Column[R]) -> str:
    return " class=n" if column.right else ""
