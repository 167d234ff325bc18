"""The README's table of mechanisms, made from their files: `python -m tests.readme` brings it up to date."""

import re

from attncli import attention, check
from attncli.errors import UserError
from attncli.measure.blueprint import count
from attncli.model import Shape
from tests.shared import ROOT

README = ROOT / "README.md"
BEGIN, END = "<!-- mechanisms:begin -->", "<!-- mechanisms:end -->"
NETWORKS = {"resnet20": Shape(10, (32, 32)), "resnet50": Shape(1000, (224, 224))}
FRAMES = 8


def table() -> str:
    """A Markdown table: what it is, where it goes, what it adds to two networks."""
    plain = {name: count(check.read(None, [f"model.backbone={name}"]), shape) for name, shape in NETWORKS.items()}
    heads = ["name", "paper", "category", "site", *(f"{name} ({n / 1e6:.2f} M) +" for name, n in plain.items())]
    lines = [f"| {' | '.join(heads)} |", "|---|---|---|---|" + "---:|" * len(plain)]
    for name in attention.names():
        mechanism = attention.describe(name)
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
    site = attention.describe(name).card.site
    if site.startswith("frames"):
        shape = Shape(shape.classes, shape.size, FRAMES)
    try:
        n = count(check.read(None, [f"model.backbone={backbone}", f"model.attn={name}"]), shape)
    except UserError:
        return "-"
    return f"{n:,} in all" if site == "model" else f"{n - plain:,}"


def written(text: str) -> str:
    """The README's text with the table as it should be."""
    pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    return pattern.sub(lambda _: f"{BEGIN}\n{table()}\n{END}", text)


if __name__ == "__main__":
    README.write_text(written(README.read_text(encoding="utf-8")), encoding="utf-8")
