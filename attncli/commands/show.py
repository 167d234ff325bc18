"""`attncli show`: all about one mechanism."""

from dataclasses import asdict
from typing import Any

import click

from attncli.commands.options import echo_json, json_option


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
    if rows:
        from attncli.report.table import show

        click.echo(f"\nPublished figures ({len(rows)}; percentages as printed; params_m in millions)")
        shown = [r for r in rows if r.figures.keys() & _FIGURES.keys()]
        show([_row(r) for r in shown])
    return None


_FIGURES = {"params_m": "params_m", "gflops": "gflops", "top1": "top-1", "top5": "top-5", "err1": "error"}


def _row(row: Any) -> dict[str, Any]:
    figures = {label: row.figures.get(key) for key, label in _FIGURES.items()}
    mark = "" if row.verified != "no" else " (unverified)"
    return {"data": row.dataset, "backbone": row.backbone, "attn": row.attn, **figures, "source": row.source + mark}


def _text(mechanism: Any, card: dict[str, Any]) -> str:
    from attncli.attention.card import SITES

    year = "" if str(card["year"]) in card["venue"] else f" {card['year']}"
    arxiv = f", arXiv {card['arxiv']}" if card["arxiv"] else ""
    lines = [
        mechanism.doc,
        "",
        f"Paper     {card['title']} ({card['venue']}{year}{arxiv})",
        f"Code      {card['code']}",
        f"Category  {mechanism.category}",
        f"Site      {card['site']}: {SITES[card['site']]}",
        f"Where     {_where(card)}",
    ]
    if card["mobile_site"]:
        lines.append(f"Mobile    {card['mobile_site']}: {SITES[card['mobile_site']]} (inverted residuals, MobileNetV2)")
    if card["sites"]:
        lines.append(f"Also at   {', '.join(card['sites'])}  (--set model.site=...)")
    if card["floor"]:
        lines.append(f"Floor     {card['floor']}")
    lines += [f"Note      {note}" for note in card["notes"]]
    if mechanism.options:
        lines += ["", "Options   --set model.options.NAME=VALUE"]
        lines += [f"  {k} = {_plain(p.default)}  ({p.annotation})" for k, p in mechanism.options.items()]
    return "\n".join(lines)


def _plain(value: Any) -> str:
    """A default as a recipe writes it."""
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_plain, value)) + "]"
    return (
        {None: "none", True: "true", False: "false"}[value]
        if value is None or value is True or value is False
        else str(value)
    )


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
