"""The README's tables of mechanisms and backbones, made from their files: `python -m tests.readme` writes them anew."""

import ast
import re
from itertools import groupby

from attncli import attention, backbones, validation
from attncli.backbones import compatibility
from attncli.commands.ls import summarize_sites
from attncli.errors import UserError
from attncli.measure.blueprint import count_recipe_parameters
from attncli.model import InputSpec
from attncli.system import source_inspection
from tests.shared import ROOT

README = ROOT / "README.md"
MARKS = "<!-- {}:begin -->", "<!-- {}:end -->"
NETWORKS = {"resnet20": InputSpec(10, (32, 32)), "resnet50": InputSpec(1000, (224, 224))}
FAMILIES = ROOT / "attncli" / "backbones"
FRAMES = 8


def table() -> str:
    """A Markdown table: what it is, where it goes, what it adds to two networks."""
    plain = {
        name: count_recipe_parameters(validation.read(None, [f"model.backbone={name}"]), shape)
        for name, shape in NETWORKS.items()
    }
    heads = ["name", "paper", "category", "site", *(f"{name} ({n / 1e6:.2f} M) +" for name, n in plain.items())]
    lines = [f"| {' | '.join(heads)} |", "|---|---|---|---|" + "---:|" * len(plain)]
    for name in attention.mechanism_names():
        mechanism = attention.describe_mechanism(name)
        card = mechanism.card
        paper = card.title.partition(" (arXiv")[0]
        if card.arxiv:
            paper = f"[{paper}](https://arxiv.org/abs/{card.arxiv})"
        added = [_added(name, backbone, plain[backbone]) for backbone in plain]
        lines.append(f"| `{name}` | {paper}, {card.year} | {mechanism.category} | {card.site} | {' | '.join(added)} |")
    return "\n".join(lines)


def _added(name: str, backbone: str, plain: int) -> str:
    """Parameters over the plain network; of a whole network its own; of what does not fit a dash."""
    shape = NETWORKS[backbone]
    site = attention.describe_mechanism(name).card.site
    if site.startswith("frames"):
        shape = InputSpec(shape.classes, shape.size, FRAMES)
    try:
        n = count_recipe_parameters(validation.read(None, [f"model.backbone={backbone}", f"model.attn={name}"]), shape)
    except UserError:
        return "-"
    return f"{n:,} in all" if site == "model" else f"{n - plain:,}"


def families() -> str:
    """A Markdown table: a line a family with its networks, their parameters and the sites they lack."""
    lines = ["| backbones (parameters in millions) | what | sites |", "|---|---|---|"]
    for family, members in groupby(backbones.backbone_names(), backbones.find_family):
        names = list(members)
        told = ast.get_docstring(source_inspection.parse_source(FAMILIES / f"{family}.py")) or ""
        what = re.split(r"(?<=\))[,.:]", " ".join(told.split()))[0]
        (sites,) = {summarize_sites(compatibility.load_compatibility()[name].sites) for name in names}
        lines.append(f"| {', '.join(map(_sized, names))} | {what} | {sites} |")
    return "\n".join(lines)


def _sized(name: str) -> str:
    size = compatibility.matrix_image_size(name)
    shape = InputSpec(1000 if size == compatibility.IMAGENET_PIXELS else 10, (size, size))
    return f"`{name}` ({count_recipe_parameters(validation.read(None, [f'model.backbone={name}']), shape) / 1e6:.2f})"


def written(text: str) -> str:
    """The README's text with the tables as they should be."""
    for what, made in (("mechanisms", table), ("backbones", families)):
        begin, end = (mark.format(what) for mark in MARKS)
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        new = f"{begin}\n{made()}\n{end}"
        text = pattern.sub(lambda _, new=new: new, text)
    return text


if __name__ == "__main__":
    README.write_text(written(README.read_text(encoding="utf-8")), encoding="utf-8")
