"""Published figures beside each other and beside ours: a table, and in words where the sources disagree."""

from collections.abc import Sequence
from textwrap import fill

from attncli.report.table import MISSING, Column, text
from attncli.survey.deviation import UNITS, Figure, Printed

WORDS = {"params": "parameters", "macs": "MACs", "top1": "top-1"}
SHORT = WORDS | {"params": "params"}
APART = 0.5  # %, or points: from here on sources that print one network differently are told
NOTE = (
    "published: lowest to highest over the sources, parameters in millions (10^6, whatever the source counts in), MACs "
    "in billions (papers print them as GFLOPs), top-1 in percent. ours: counted, or the mean of finished runs. off: "
    "ours over the sources, in percent, of accuracies in points. ? not verified."
)


def render(figures: Sequence[Figure], width: int) -> str:
    """The table, then where sources are apart, then what the columns mean."""
    apart = disagreements(figures)
    told = [fill(line, width, subsequent_indent="  ", break_long_words=False) for line in apart]
    heading = [f"Sources that print the same network differently (by {APART:g} % or points and more):"] if told else []
    return "\n\n".join(
        [text(COLUMNS, lines(figures), width=width).strip("\n"), *heading, "\n".join(told), fill(NOTE, width)]
    )


def disagreements(figures: Sequence[Figure]) -> list[str]:
    """A line for every figure that its sources print differently."""
    return [_apart(figure) for figure in figures if len(figure.printed) > 1 and figure.spread >= APART]


def _apart(figure: Figure) -> str:
    unit = "points" if figure.name == "top1" else "%"
    seen: dict[str, list[str]] = {}
    for printed in figure.printed:
        seen.setdefault(printed.text, []).append(printed.source)
    told = "; ".join(f"{value} ({', '.join(dict.fromkeys(sources))})" for value, sources in seen.items())
    return f"{figure.network}, {figure.dataset}, {WORDS[figure.name]}: {figure.spread:.2g} {unit} apart: {told}"


def published(figure: Figure) -> str:
    """The lowest and the highest figure in print."""
    values = sorted({_number(p) for p in figure.printed}, key=float)
    doubt = "" if any(p.verified for p in figure.printed) else " ?"
    return (values[0] if len(values) == 1 else f"{values[0]} to {values[-1]}") + doubt


def _number(printed: Printed) -> str:
    return f"{printed.value:.4g}"


def ours(figure: Figure) -> str:
    """Our figure, with the number of runs of an accuracy."""
    if figure.ours is None:
        return MISSING
    return f"{figure.ours:.4g}" + (f" (n {figure.n})" if figure.n else "")


def off(figure: Figure) -> str:
    """How far ours is from the sources."""
    if figure.deviations is None:
        return MISSING
    low, high = (f"{value:+.1f}".replace("-0.0", "0").replace("+0.0", "0") for value in figure.deviations)
    return low if low == high else f"{low} to {high}"


Line = tuple[Figure, bool]  # whether it is the first of its network


def lines(figures: Sequence[Figure]) -> list[Line]:
    """The figures, each with whether it is the first of its network."""
    before = [None, *((f.network, f.dataset) for f in figures)]
    return [(f, (f.network, f.dataset) != last) for f, last in zip(figures, before, strict=False)]


COLUMNS: list[Column[Line]] = [
    Column("network", lambda line: line[0].network if line[1] else "", right=False),
    Column("data", lambda line: line[0].dataset.replace("ImageNet-1k", "ImageNet") if line[1] else "", right=False),
    Column("figure", lambda line: f"{SHORT[line[0].name]}, {UNITS[line[0].name]}", right=False),
    Column("published", lambda line: published(line[0])),
    Column("from", lambda line: str(len(line[0].printed))),
    Column("ours", lambda line: ours(line[0])),
    Column("off", lambda line: off(line[0])),
]
