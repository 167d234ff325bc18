"""A matplotlib figure as SVG inside an HTML page: in the page's colours, with tooltips, the same bytes every time.

matplotlib's SVG is a document of its own: ids that clash with those of other figures, a style sheet for everything
around it, and fixed colours. An <img> would isolate it, but has neither tooltips nor the page's dark colours.
"""

import io
import re
import xml.etree.ElementTree as ET

import matplotlib
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from attncli.palette import COLOURS, FAINT, GRID, INK

NAMESPACE = "http://www.w3.org/2000/svg"
LINK = "{http://www.w3.org/1999/xlink}href"
TOOLTIP = "tooltip: "  # begins the id of a group that has a tooltip
PAGE_COLOURS = {INK: "--ink", FAINT: "--soft", GRID: "--line"} | {
    colour: f"--c{number}" for number, colour in enumerate(COLOURS, 1)
}  # the CSS variables of page.css, which have a light and a dark value


def add_tooltip(artist: Artist, text: str) -> None:
    """Show a text when a pointer is over what an artist draws."""
    artist.set_gid(TOOLTIP + text)


def render_inline_svg(figure: Figure, label: str) -> str:
    """Return a figure as an <svg> element. `label` is what a screen reader says."""
    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "attncli"}):
        figure.savefig(file, format="svg", metadata={"Date": None}, transparent=True)
    drawing = ET.fromstring(file.getvalue())
    shapes = {f"#{shape.get('id')}": shape for shape in drawing.iter(_qualify("path")) if shape.get("id")}
    for element in drawing.iter(_qualify("use")):
        _copy_shape(element, shapes[element.attrib[LINK]])
    _remove_elements(drawing, {"metadata", "defs"})
    for element in drawing.iter():
        _adapt_element(element)
    drawing.attrib = {"viewBox": drawing.attrib["viewBox"], "role": "img", "aria-label": label}
    ET.register_namespace("", NAMESPACE)
    return ET.tostring(drawing, encoding="unicode")


def _qualify(tag: str) -> str:
    return f"{{{NAMESPACE}}}{tag}"


def _copy_shape(element: ET.Element, shape: ET.Element) -> None:
    """Turn a <use> of a shape into a copy of the shape, which needs no id."""
    element.tag = shape.tag
    element.attrib = {
        "d": shape.attrib["d"],
        "style": element.get("style", ""),
        "transform": f"translate({element.attrib['x']} {element.attrib['y']})",
    }


def _remove_elements(parent: ET.Element, tags: set[str]) -> None:
    for child in list(parent):
        if child.tag in {_qualify(tag) for tag in tags}:
            parent.remove(child)
        else:
            _remove_elements(child, tags)


def _adapt_element(element: ET.Element) -> None:
    """Take an element's id, clipping (nothing lies outside of the axes) and spaces away; use the page's colours."""
    name, _ = element.attrib.pop("id", ""), element.attrib.pop("clip-path", "")
    if name.startswith(TOOLTIP):
        title = ET.Element(_qualify("title"))
        title.text = name.removeprefix(TOOLTIP)
        element.insert(0, title)
    if "style" in element.attrib:
        element.set("style", re.sub(r"#[0-9a-f]{6}", _use_page_colour, element.attrib["style"]))
    for key in {"d", "x", "y", "transform"} & element.attrib.keys():
        rounded = re.sub(r"-?\d+\.\d+", lambda number: f"{float(number[0]):.2f}", element.attrib[key])
        element.set(key, " ".join(rounded.split()))
    element.text = (element.text or "").strip()
    element.tail = ""


def _use_page_colour(colour: re.Match[str]) -> str:
    return f"var({PAGE_COLOURS[colour[0]]})" if colour[0] in PAGE_COLOURS else colour[0]
