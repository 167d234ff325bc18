"""The report: one HTML file that needs nothing beside it, neither network nor other files."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TypeVar

from attncli.records import Epoch
from attncli.report import charts, claims, comparison, deviation
from attncli.report.table import Column
from attncli.survey.compare import Row
from attncli.survey.deviation import Figure
from attncli.survey.verdict import OUTCOMES, Verdict

R = TypeVar("R")
LOOK, SCRIPT = (Path(__file__).with_name(name) for name in ("page.css", "page.js"))


@dataclass(frozen=True)
class Origin:
    """Where a table's runs come from: the machines, the recipe as YAML, the commands that make them again."""

    machines: Sequence[str]
    recipe: str
    commands: Sequence[str]


@dataclass(frozen=True)
class Contents:
    """What a report tells; `epochs` and `origins` by the title of a comparison (of the epochs, then by variant)."""

    title: str
    made: str  # when, with what version
    verdicts: Sequence[Verdict]
    rows: Sequence[Row]
    figures: Sequence[Figure] = ()
    epochs: Mapping[str, Mapping[str, Sequence[Sequence[Epoch]]]] = field(default_factory=dict)
    origins: Mapping[str, Origin] = field(default_factory=dict)
    again: Sequence[str] = ()  # the commands that make this report again


def html(contents: Contents) -> str:
    """The whole page."""
    parts = [_head(contents), _tiles(contents.verdicts)]
    parts += [f"<h2 id=runs>Runs</h2>{_runs(contents)}"] if contents.rows else []
    parts += [f"<h2 id=claims>Claims of the literature</h2>{_claims(contents.verdicts)}"] if contents.verdicts else []
    parts += [f"<h2 id=published>Published figures</h2>{_published(contents.figures)}"] if contents.figures else []
    parts.append(f"<h2 id=again>Again</h2>{_commands(contents.again)}")
    script = f"<script>{SCRIPT.read_text()}</script>" if contents.verdicts else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(contents.title)}</title><style>{LOOK.read_text()}</style></head>"
        f"<body>{''.join(parts)}{script}</body></html>\n"
    )


def _head(contents: Contents) -> str:
    there = (("runs", contents.rows), ("claims", contents.verdicts), ("published", contents.figures), ("again", True))
    links = "".join(f'<a href="#{name}">{name.capitalize()}</a>' for name, has in there if has)
    return (
        f"<header><h1>{escape(contents.title)}</h1><p class=soft>{escape(contents.made)}</p><nav>{links}</nav></header>"
    )


def _tiles(verdicts: Sequence[Verdict]) -> str:
    """How many claims there are of each verdict."""
    counts = Counter(v.outcome for v in verdicts)
    tiles = [f'<li class="{o}"><b>{counts[o]}</b>{claims.word(o, counts[o])}</li>' for o in OUTCOMES if counts[o]]
    return f"<ul class=tiles>{''.join(tiles)}</ul>" if tiles else ""


def _runs(contents: Contents) -> str:
    """A block for each dataset, backbone and recipe."""
    blocks = []
    for title, rows in comparison.parts(contents.rows):
        drawn = _charts(rows, contents.epochs.get(title, {}))
        origin = contents.origins.get(title)
        table = _table([*comparison.COLUMNS, comparison.VERDICT], rows)
        blocks.append(f"<h3>{escape(title)}</h3>{table}{drawn}{_origin(origin) if origin else ''}")
    return f"{''.join(blocks)}<p class=soft>{escape(comparison.NOTE)}</p>"


def _charts(rows: Sequence[Row], epochs: Mapping[str, Sequence[Sequence[Epoch]]]) -> str:
    drawn = (
        (charts.forest(rows), "Difference to the plain network", "paired seed by seed, with its 95 % interval"),
        (
            charts.against(rows, lambda r: r.params_pct, "parameters, % over the plain network"),
            "Accuracy against parameters",
            "mean over seeds with its 95 % interval",
        ),
        (
            charts.against(rows, lambda r: r.macs_pct, "multiply-accumulates, % over the plain network"),
            "Accuracy against MACs",
            "mean over seeds with its 95 % interval",
        ),
        (
            charts.against(rows, lambda r: 1 / r.train_ratio if r.train_ratio else None, "training time over plain"),
            "Accuracy against training time",
            "timed in turn with the plain network",
        ),
        (charts.curves(rows, epochs), "Learning curves", "mean over seeds, from the worst to the best"),
    )
    told = [f"<figure>{svg}<figcaption><b>{name}</b>: {what}</figcaption></figure>" for svg, name, what in drawn if svg]
    return f"<div class=charts>{''.join(told)}</div>" if told else ""


def _origin(origin: Origin) -> str:
    machines = "".join(f"<p>{escape(machine)}</p>" for machine in origin.machines)
    return (
        f"<details><summary>Machine, recipe, and how to make these runs again</summary><div>{machines}"
        f"{_commands(origin.commands)}<pre><code>{escape(origin.recipe)}</code></pre></div></details>"
    )


def _commands(commands: Sequence[str]) -> str:
    return f"<pre><code>{escape(chr(10).join(commands))}</code></pre>" if commands else ""


def _claims(verdicts: Sequence[Verdict]) -> str:
    """The claims by mechanism, each with all it rests on when it is opened."""
    chips = "".join(
        f'<button value="{o}" aria-pressed="false">{o}</button>'
        for o in OUTCOMES
        if any(v.outcome == o for v in verdicts)
    )
    search = '<input type="search" placeholder="search" aria-label="Search the claims">'
    groups = []
    for card in dict.fromkeys(v.claim.card for v in verdicts):
        items = "".join(_claim(v) for v in verdicts if v.claim.card == card)
        groups.append(f"<section class=group><h3>{escape(card)}</h3>{items}</section>")
    return f"<div class=chips hidden>{chips}{search}</div>{''.join(groups)}<p class=soft>{escape(claims.NOTE)}</p>"


def _claim(verdict: Verdict) -> str:
    shown = "" if verdict.by in ("test", "nothing") else f"<span class=figures>{escape(claims.figures(verdict))}</span>"
    labels = f"<span class=figures>{escape('; '.join(verdict.labels))}</span>" if verdict.labels else ""
    told = "".join(f"<dt>{escape(label)}</dt><dd>{escape(text)}</dd>" for label, text in claims.facts(verdict)[1:])
    name = f"<span>{escape(verdict.claim.text)} <code>{escape(verdict.claim.id)}</code></span>"
    summary = f"{name}<span class=badge>{verdict.outcome}</span>{shown}{labels}"
    return f'<details class="claim {verdict.outcome}"><summary>{summary}</summary><div><dl>{told}</dl></div></details>'


def _published(figures: Sequence[Figure]) -> str:
    """Ours beside what is in print, then where the sources disagree."""
    apart = "".join(f"<li>{escape(line)}</li>" for line in deviation.disagreements(figures))
    more = f"<details><summary>Where sources disagree</summary><div><ul>{apart}</ul></div></details>" if apart else ""
    return f"{_table(deviation.COLUMNS, deviation.lines(figures))}{more}<p class=soft>{escape(deviation.NOTE)}</p>"


def _table(columns: Sequence[Column[R]], rows: Sequence[R]) -> str:
    head = "".join(f"<th{_side(c)}>{escape(c.heading)}</th>" for c in columns)
    body = "".join(f"<tr>{''.join(f'<td{_side(c)}>{escape(c.cell(row))}</td>' for c in columns)}</tr>" for row in rows)
    return f"<div class=scroll><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _side(column: Column[R]) -> str:
    return " class=n" if column.right else ""
