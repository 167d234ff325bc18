"""`attncli show`: explain one mechanism: maths, place, options, published figures."""

import json
import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from attncli.commands._completion import complete_mechanisms
from attncli.commands._output import echo_json, json_option, wrap_with_label
from attncli.system.terminal import fill_text, find_terminal_width, find_text_width

if TYPE_CHECKING:
    from collections.abc import Sequence

    from attncli.attention import Mechanism
    from attncli.literature.peers import Peer
    from attncli.literature.published import PublishedRow


@click.command()
@click.argument("name", shell_complete=complete_mechanisms)
@json_option
def command(name: str, as_json: bool) -> None:
    """Explain a mechanism: its maths, its place, its options, and what has been published about it.

    NAME is one of `attncli ls attention`, or the path of a .py file that defines a mechanism (mine.py:CBAM).

    More in `attncli help mechanisms`.

    \b
    Example:
      attncli show eca
    """
    from attncli import attention, backbones
    from attncli.errors import UserError
    from attncli.literature import peers, published

    if name in backbones.backbone_names():
        raise UserError(
            f"'{name}' is a backbone, and `show` explains mechanisms",
            f"`attncli sites --attn eca --backbone {name}` lists its places, `attncli ls backbones` its sites",
        )
    mechanism = attention.describe_mechanism(name)
    if mechanism.parts:
        raise UserError(f"'{name}' is a combination", "`attncli show NAME` explains each of its mechanisms")
    rows = published.find_rows_about(mechanism.name)
    having = peers.find_peers_with(mechanism.name)
    if as_json:
        return echo_json(_make_json_dict(mechanism, rows, having))
    click.echo(_render_mechanism(mechanism, having))
    if rows:
        from attncli.report.published_tables import render_published_rows

        click.echo(
            "\n"
            + wrap_with_label(f"Published figures ({len(rows)}; ", "in percent, params in millions; notes with --json)")
        )
        click.echo(render_published_rows(rows, find_terminal_width()))
    return None


def _make_json_dict(mechanism: "Mechanism", rows: "Sequence[PublishedRow]", having: "Sequence[Peer]") -> dict[str, Any]:
    """Return all that is known of a mechanism: its card, options, published figures, and the peers that have it."""
    from attncli import attention

    return {
        "name": mechanism.name,
        "category": mechanism.category,
        "file": str(attention.locate_mechanism(mechanism.reference)[1]),
        "doc": mechanism.doc,
        **vars(mechanism.card),
        "facts": mechanism.site_arguments,
        "options": {k: vars(v) for k, v in mechanism.options.items()},
        "published": [asdict(r) for r in rows],
        "peers": [
            {"name": p.name, "repository": p.repository, "differs": p.differs.get(mechanism.name)} for p in having
        ],
    }


def _render_mechanism(mechanism: "Mechanism", peers: "Sequence[Peer]") -> str:
    from attncli.attention import locate_mechanism
    from attncli.attention.card import SITES
    from attncli.backbones import list_mobile_backbones

    card = vars(mechanism.card)
    labelled_texts = [
        ("Paper" if _is_published(card) else "Title", _cite_paper(card)),
        ("File", str(locate_mechanism(mechanism.reference)[1])),
        *([("Code", card["code"])] if card["code"] else []),
        ("Category", mechanism.category),
        ("Site", f"{card['site']}: {SITES[card['site']]}"),
        ("Where", _describe_placement(card)),
    ]
    if card["zero_init_residual"]:
        labelled_texts.append(
            ("Start", "last norm of each residual branch, if it has one, at 0 (--set model.zero_init_residual=false)")
        )
    if mobile := card["mobile_site"]:
        text = f"in {', '.join(list_mobile_backbones())}; in other networks with --set model.site={mobile}"
        labelled_texts.append(("Mobile", f"{mobile}: {SITES[mobile]} ({text})"))
    if card["sites"]:
        labelled_texts.append(("Also at", f"{', '.join(card['sites'])} (--set model.site=...)"))
    labelled_texts.append(("Needs", ", ".join(mechanism.site_arguments) or "nothing of its place"))
    if card["floor"]:
        labelled_texts.append(("Floor", card["floor"]))
    if card["dead"]:
        text = f"{', '.join(card['dead'])}: {card['dead_because']}; counted as parameters all the same"
        labelled_texts.append(("No effect", text))
    if card["aliases"]:
        labelled_texts.append(("Names", ", ".join(card["aliases"])))
    if peers:
        labelled_texts.append(("Also in", ", ".join(peer.name for peer in peers)))
    labelled_texts += [
        ("Differs", f"{p.name}: {p.differs[mechanism.name]}") for p in peers if mechanism.name in p.differs
    ]
    labelled_texts += [("Note", note) for note in card["notes"]]
    lines = [_wrap_paragraphs(mechanism.doc, find_text_width()), ""] if mechanism.doc else []
    lines += [wrap_with_label(f"{label:10}", text) for label, text in labelled_texts]
    if mechanism.options:
        lines += ["", "Options   --set model.options.NAME=VALUE"]
        lines += [
            wrap_with_label(f"  {k} = {_format_default(p.default)}  ", f"({p.type_text})")
            for k, p in mechanism.options.items()
        ]
    return "\n".join(lines)


def _wrap_paragraphs(text: str, width: int) -> str:
    """Return a text whose paragraphs fit into `width` columns; those with indented lines, which are maths, stay."""
    paragraphs = [
        paragraph
        if re.search(r"^\s", paragraph, re.MULTILINE) or max(map(len, paragraph.splitlines()), default=0) <= width
        else fill_text(paragraph, width)
        for paragraph in text.split("\n\n")
    ]
    return "\n\n".join(paragraphs)


def _is_published(card: dict[str, Any]) -> bool:
    """Return whether a card names where its paper is; the card of a user's own class has its name only."""
    return bool(card["venue"] or card["year"] or card["arxiv"])


def _cite_paper(card: dict[str, Any]) -> str:
    """Return title, venue, year and number of a mechanism's paper, those that its card has."""
    year = "" if not card["year"] or str(card["year"]) in card["venue"] else str(card["year"])
    arxiv = f"arXiv {card['arxiv']}" if card["arxiv"] else ""
    source = ", ".join(text for text in (f"{card['venue']} {year}".strip(), arxiv) if text)
    return f"{card['title']} ({source})" if source else card["title"]


def _format_default(value: Any) -> str:
    """Return a default as a recipe writes it, or dots for an option that must be given."""
    return "..." if value is ... else json.dumps(value)


def _describe_placement(card: dict[str, Any]) -> str:
    """Return in words which blocks of a network get the mechanism."""
    site = card["site"]
    if site in ("model", "input", "head", "frames-head"):
        return "once"
    if site == "conv-input":
        return "every convolution of the network, stem and shortcuts among them"
    text = _describe_blocks(card["stages"], card["blocks"])
    if card["whole_last_stage"]:
        text += ", and every block of the last stage"
    if card["cifar_stages"] or card["cifar_blocks"]:
        text += "; in networks of three stages " + _describe_blocks(
            card["cifar_stages"] or card["stages"], card["cifar_blocks"] or card["blocks"]
        )
    if site == "join":
        text += " that has a shortcut"
    if site == "conv":
        which = {"all": "every", "first": "the first", "last": "the last"}[card["convs"]]
        norm = ", with its norm" if card["replaces_norm"] else ""
        text = f"{which} 3x3 convolution{norm}, in {text}"
    return text


_POSITIONS = {-1: "the last block", -2: "the last block but one"}


def _describe_blocks(stages: tuple[int, ...] | None, blocks: tuple[int, ...] | None) -> str:
    """Return stages and blocks in words. A card counts from 1, or from the end with negative numbers; None is all."""
    which = "every block" if blocks is None else " and ".join(_POSITIONS.get(b, f"block {b}") for b in blocks)
    if stages is None:
        return which if blocks is None else f"{which} of every stage"
    *most, last = map(str, stages)
    return f"{which} of stage{'s' if most else ''} {', '.join(most)}{' and ' if most else ''}{last}"
