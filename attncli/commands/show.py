"""`attncli show`: all about one mechanism: maths, place, options, figures."""

import json
import shutil
from dataclasses import asdict
from typing import Any

import click

from attncli.commands.options import echo_json, json_option, labelled


@click.command()
@click.argument("name")
@json_option
def command(name: str, as_json: bool) -> None:
    """Explain a mechanism: its maths, its place, its options, and what has been published about it.

    NAME is one of `attncli ls attention`, or the path of a file of your own.

    \b
    Example:
      attncli show eca
    """
    from attncli import attention
    from attncli.survey import published

    mechanism = attention.describe(name)
    card = vars(mechanism.card)
    rows = published.of(mechanism.name)
    if as_json:
        return echo_json(
            {
                "name": mechanism.name,
                "category": mechanism.category,
                "doc": mechanism.doc,
                **card,
                "facts": mechanism.facts,
                "options": {k: vars(v) for k, v in mechanism.options.items()},
                "published": [asdict(r) for r in rows],
            }
        )
    click.echo(_text(mechanism, card))
    _published([row for row in rows if row.figures.keys() & _FIGURES.keys()])
    return None


def _published(rows: list[Any]) -> None:
    """Published figures by source, each a table of what that source gives."""
    from attncli.report.table import show

    if rows:
        click.echo(f"\nPublished figures ({len(rows)}; accuracies in percent as printed, params in millions)")
    sources: dict[str, list[Any]] = {}
    for row in rows:
        sources.setdefault(row.source + (" (unverified)" if row.verified == "no" else ""), []).append(row)
    for source, given in sources.items():
        click.echo("\n" + click.wrap_text(source, shutil.get_terminal_size().columns))
        keys = [key for key in _FIGURES if any(key in row.figures for row in given)]
        show([_row(row, keys) for row in given])


_FIGURES = {"params_m": "params", "gflops": "gflops", "top1": "top-1", "top5": "top-5", "err1": "error"}


def _row(row: Any, keys: list[str]) -> dict[str, Any]:
    figures = {_FIGURES[key]: row.figures.get(key) for key in keys}
    return {"data": row.dataset, "backbone": row.backbone, "attn": row.attn, **figures}


def _text(mechanism: Any, card: dict[str, Any]) -> str:
    from attncli.attention.card import SITES

    year = "" if str(card["year"]) in card["venue"] else f" {card['year']}"
    arxiv = f", arXiv {card['arxiv']}" if card["arxiv"] else ""
    facts = [
        ("Paper", f"{card['title']} ({card['venue']}{year}{arxiv})"),
        ("Code", card["code"]),
        ("Category", mechanism.category),
        ("Site", f"{card['site']}: {SITES[card['site']]}"),
        ("Where", _where(card)),
    ]
    if mobile := card["mobile_site"]:
        facts.append(("Mobile", f"{mobile}: {SITES[mobile]} (inverted residuals, MobileNetV2)"))
    if card["sites"]:
        facts.append(("Also at", f"{', '.join(card['sites'])} (--set model.site=...)"))
    if card["floor"]:
        facts.append(("Floor", card["floor"]))
    facts += [("Note", note) for note in card["notes"]]
    lines = [mechanism.doc, "", *(labelled(f"{label:10}", text) for label, text in facts)]
    if mechanism.options:
        lines += ["", "Options   --set model.options.NAME=VALUE"]
        lines += [f"  {k} = {_plain(p.default)}  ({p.annotation})" for k, p in mechanism.options.items()]
    return "\n".join(lines)


def _plain(value: Any) -> str:
    """A default as a recipe writes it; the dots of one that must be given."""
    return "..." if value is ... else json.dumps(value)


def _where(card: dict[str, Any]) -> str:
    def told(stages: Any, blocks: Any) -> str:
        parts = [
            f"stages {list(stages)}" if stages else "all stages",
            f"blocks {list(blocks)}" if blocks else "all blocks",
        ]
        return ", ".join(parts)

    if card["site"] in ("model", "input", "head", "frames-head"):
        return "once"
    text = told(card["stages"], card["blocks"])
    if card["cifar_stages"] or card["cifar_blocks"]:
        cifar = told(card["cifar_stages"] or card["stages"], card["cifar_blocks"] or card["blocks"])
        text += f"; in networks of three stages: {cifar}"
    return text
