"""Generate the tables of `attncli/help/mechanisms.md` and `attncli/help/backbones.md`, between their marks."""

import ast
import re
from itertools import groupby
from pathlib import Path

from attncli import attention, backbones
from attncli.backbones import compatibility
from attncli.commands.ls import summarize_sites
from attncli.system import source_inspection
from tests.generate.parameters import NETWORKS, count_added, count_network
from tests.shared import ROOT

HELP = ROOT / "attncli" / "help"
FAMILIES = ROOT / "attncli" / "backbones"
MARKS = "<!-- {}:begin, written by `make generate` -->", "<!-- {}:end -->"


def format_mechanisms() -> str:
    """Return a Markdown table of our mechanisms: the paper, the site, the parameters that two networks gain."""
    plain = {name: count_network(name, attention.NONE) or 0 for name in NETWORKS}
    heads = ["name", "paper", "category, site", *(f"{name} ({n / 1e6:.2f} M) +" for name, n in plain.items())]
    lines = [f"| {' | '.join(heads)} |", "|---|---|---|" + "---:|" * len(plain)]
    for name in (name for name in attention.mechanism_names() if not attention.is_plugin(name)):
        mechanism = attention.describe_mechanism(name)
        card = mechanism.card
        paper = card.title.partition(" (arXiv")[0]
        if card.arxiv:
            paper = f"[{paper}](https://arxiv.org/abs/{card.arxiv})"
        added = [_format_added_parameters(mechanism, backbone) for backbone in NETWORKS]
        place = f"{mechanism.category}, {card.site}"
        lines.append(f"| `{name}` | {paper}, {card.year} | {place} | {' | '.join(added)} |")
    return "\n".join(lines)


def _format_added_parameters(mechanism: attention.Mechanism, backbone: str) -> str:
    """Return the parameters over the plain network, all of a whole network's, or a dash for what does not fit."""
    if mechanism.is_whole_network:
        return f"{count_network(backbone, mechanism.name):,} in all"
    added = count_added(backbone, mechanism.name)
    return "-" if added is None else f"{added:,}"


def format_backbones() -> str:
    """Return a Markdown table with one line per family: its networks, their parameters, the sites that they lack."""
    lines = ["| backbones (parameters in millions) | what | sites |", "|---|---|---|"]
    for family, members in groupby(backbones.backbone_names(), backbones.find_family):
        names = list(members)
        docstring = ast.get_docstring(source_inspection.parse_source(FAMILIES / f"{family}.py")) or ""
        summary = re.split(r"(?<=\))[,.:]", " ".join(docstring.split()))[0]
        (sites,) = {summarize_sites(compatibility.list_sites(name)) for name in names}
        lines.append(f"| {', '.join(map(_format_size, names))} | {summary} | {sites} |")
    return "\n".join(lines)


def _format_size(name: str) -> str:
    return f"`{name}` ({compatibility.load_backbone_parameters()[name] / 1e6:.2f})"


TABLES = {"mechanisms": format_mechanisms, "backbones": format_backbones}


def find_help_file(topic: str) -> Path:
    """Return the file of a help topic."""
    return HELP / f"{topic}.md"


def insert_table(topic: str) -> str:
    """Return the text of a help topic with its table as it should be."""
    begin, end = (mark.format(topic) for mark in MARKS)
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    text = find_help_file(topic).read_text(encoding="utf-8")
    assert pattern.search(text), f"{topic}.md lacks the marks of its table"
    return pattern.sub(lambda _: f"{begin}\n\n{TABLES[topic]()}\n\n{end}", text)


def write_help() -> None:
    """Write the tables of all topics."""
    for topic in TABLES:
        find_help_file(topic).write_text(insert_table(topic), encoding="utf-8")
