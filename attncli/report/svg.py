"""Drawing for a page: axes, marks and texts as SVG in the colours of the page, light or dark."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH = 440
COLOURS = 6  # of series, as CSS classes c0 (the plain network) to c6; later series are grey


@dataclass
class SvgDrawing:
    """An SVG under way; `label` is what a screen reader says."""

    height: float
    label: str
    width: float = WIDTH
    parts: list[str] = field(default_factory=list)

    def add_element(self, name: str, text: str = "", title: str = "", **attributes: object) -> None:
        """Add an element; `cls` is its class, `title` what a pointer over it shows; underscores stand for hyphens."""
        attributes_text = "".join(
            f' {"class" if key == "cls" else key.replace("_", "-")}="{_format_attribute(value)}"'
            for key, value in attributes.items()
        )
        inside = (f"<title>{escape(title)}</title>" if title else "") + escape(text)
        self.parts.append(f"<{name}{attributes_text}>{inside}</{name}>" if inside else f"<{name}{attributes_text}/>")

    def add_line(self, x1: float, y1: float, x2: float, y2: float, cls: str, title: str = "") -> None:
        """A line."""
        self.add_element("line", title=title, x1=x1, y1=y1, x2=x2, y2=y2, cls=cls)

    def add_text(self, x: float, y: float, text: str, cls: str = "", anchor: str = "start") -> None:
        """A text, its middle at the height y."""
        self.add_element("text", text, x=x, y=y + 4, text_anchor=anchor, cls=cls)

    def to_svg(self) -> str:
        """The whole."""
        return (
            f'<svg viewBox="0 0 {_format_attribute(self.width)} {_format_attribute(self.height)}" role="img" '
            f'aria-label="{escape(self.label, quote=True)}">{"".join(self.parts)}</svg>'
        )


def _format_attribute(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else escape(str(value), quote=True)


@dataclass(frozen=True)
class AxisScale:
    """Figures from `low` to `high` onto places from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The place of a figure."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def tick_values(self, about: int = 5) -> Iterator[float]:
        """Round figures, about so many."""
        step = _round_step((self.high - self.low) / about)
        first = math.ceil(self.low / step - 1e-9)
        for i in range(first, math.floor(self.high / step + 1e-9) + 1):
            yield i * step

    def count_digits(self, about: int = 5) -> int:
        """Decimals that tell the ticks apart."""
        return max(0, -math.floor(math.log10(_round_step((self.high - self.low) / about)) + 1e-9))


def _round_step(rough: float) -> float:
    """The round step (1, 2 or 5 times a power of ten) next above."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))


def fit_scale(values: Sequence[float], start: float, end: float, room: float = 0.08, least: float = 1e-9) -> AxisScale:
    """A scale with room around the values, at least `least` wide."""
    low, high = min(values), max(values)
    lacking = max(0.0, least - (high - low)) / 2
    low, high = low - lacking, high + lacking
    margin = room * (high - low) or 1.0
    return AxisScale(low - margin, high + margin, start, end)


def separate_levels(levels: Sequence[float], least: float = 14.0) -> list[float]:
    """Rising levels moved so that neighbours are `least` apart at least, what touches staying around its middle."""
    separated = list(levels)
    for _ in range(60):
        for i in range(len(separated) - 1):
            lacking = least - (separated[i + 1] - separated[i])
            if lacking > 0:
                separated[i] -= lacking / 2
                separated[i + 1] += lacking / 2
    return separated


def draw_axes(drawing: SvgDrawing, x: AxisScale, y: AxisScale, names: tuple[str, str]) -> None:
    """Both axes with their grid and names (of x, of y)."""
    for tick in y.tick_values():
        drawing.add_line(x.start, y(tick), x.end, y(tick), "grid")
        drawing.add_text(x.start - 6, y(tick), f"{tick:.{y.count_digits()}f}", "tick", "end")
    for tick in x.tick_values():
        drawing.add_text(x(tick), y.start + 14, f"{tick:.{x.count_digits()}f}", "tick", "middle")
    drawing.add_line(x.start, y.start, x.end, y.start, "axis")
    drawing.add_text((x.start + x.end) / 2, y.start + 32, names[0], "name", "middle")
    drawing.add_text(4, y.end - 14, names[1], "name")
