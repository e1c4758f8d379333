"""Prepare Vega's SVG for fast rendering without seams, and for embedding beside others in one page.

A converter draws an element with `opacity` or a clip on a separate layer as large as the element: for a
heatmap that takes five times as long as its cells. So opacity is moved to the stroke or fill if there is
only one of them, a clip stays only on marks that extend beyond it, and marks for hovering are removed.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element

XLINK = "{http://www.w3.org/1999/xlink}"
NAMESPACES = {"xmlns": "http://www.w3.org/2000/svg", "xmlns:xlink": "http://www.w3.org/1999/xlink"}
_TOKEN = re.compile(r"[A-Za-z]|-?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
"""Tokens of path data."""
_SHIFT = re.compile(r"translate\(([^,)]+),([^,)]+)\)")
INVISIBLE = 0.001
"""Opacity below half a step of 255."""
LINES = ("mark-line", "mark-area", "mark-trail")
"""Marks of one long path, whose clip is extended by half a pixel and the stroke width."""


class Box(NamedTuple):
    """A rectangle in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def holds(self, other: "Box", slack: float) -> bool:
        """Whether the other box lies inside, with a tolerance of `slack`."""
        return (
            other.left >= self.left - slack
            and other.top >= self.top - slack
            and other.right <= self.right + slack
            and other.bottom <= self.bottom + slack
        )

    def moved(self, x: float, y: float, side: float = 0, end: float = 0) -> "Box":
        """Shifted, wider by `side` on the left and right and by `end` above and below."""
        return Box(self.left + x - side, self.top + y - end, self.right + x + side, self.bottom + y + end)


def parse(svg: str) -> Element:
    """The root of Vega's SVG, names without their namespace: `g`, `xlink:href`."""
    root = ET.fromstring(svg)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        for name in [name for name in element.attrib if name.startswith(XLINK)]:
            element.set(f"xlink:{name.removeprefix(XLINK)}", element.attrib.pop(name))
    return root


def size(root: Element) -> tuple[float, float]:
    """Width and height in pixels, from the view box."""
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    return width, height


def markup(elements: Iterable[Element]) -> str:
    """Elements as text, concatenated."""
    return "".join(ET.tostring(element, encoding="unicode") for element in elements)


def start_tag(attributes: dict[str, str]) -> str:
    """`<svg …>` with its namespaces."""
    return ET.tostring(Element("svg", {**NAMESPACES, **attributes}), encoding="unicode")[:-2].rstrip() + ">"


def prepare(root: Element, prefix: str) -> None:
    """Change the drawing in place: same appearance, faster rendering; ids begin with `prefix`.

    Heatmap cells get crisp edges, or there are visible seams between them.
    """
    boxes = {clip.attrib["id"]: _rectangle(clip) for clip in root.iter("clipPath")}
    for element in root.iter():
        if element.tag in ("path", "line", "text", "rect") and "opacity" in element.attrib:
            _move_opacity(element)
    _drop_invisible(root)
    for group in [g for g in root.iter("g") if g.get("class", "").startswith("mark-")]:
        if group.attrib["class"].startswith("mark-rect"):
            group.set("shape-rendering", "crispEdges")
        if "clip-path" in group.attrib:
            _narrow_clip(group, boxes.get(_reference(group.attrib["clip-path"])))
    _drop_unused_clips(root)
    _number_ids(root, prefix)


def remove_title(root: Element, height: float) -> None:
    """Remove the title and move everything up by its height in pixels, as if drawn without it."""
    for parent in list(root.iter()):
        for child in [c for c in parent if c.get("class", "").startswith("mark-group role-title")]:
            parent.remove(child)
    width, whole = size(root)
    root.set("viewBox", f"0 0 {width:g} {whole - height:g}")
    for child in root:
        if child.tag == "rect":
            child.set("height", f"{whole - height:g}")
        elif child.tag == "g":
            x, y = _shift(child) or (0.0, 0.0)
            child.set("transform", f"translate({x:g},{y - height:g})")


# --- Opacity ---


def _move_opacity(element: Element) -> None:
    attributes = element.attrib
    strokes = "stroke" in attributes
    fills = element.tag != "line" and attributes.get("fill", "none") != "none"
    if strokes == fills:
        return
    name = "stroke-opacity" if strokes else "fill-opacity"
    if name not in attributes:
        attributes[name] = attributes.pop("opacity")


def _drop_invisible(root: Element) -> None:
    for parent in list(root.iter("g")):
        if parent.get("class", "").startswith("mark-"):
            parent[:] = [
                mark for mark in parent if not (mark.tag in ("path", "line") and _is_invisible(mark))
            ]


def _is_invisible(mark: Element) -> bool:
    """Whether it changes no pixel; marks of opacity 0 are for hovering."""
    attributes = mark.attrib
    whole = float(attributes.get("opacity", 1))
    inks = ("stroke",) if mark.tag == "line" else ("stroke", "fill")
    return all(
        attributes.get(ink, "none") == "none"
        or whole * float(attributes.get(f"{ink}-opacity", 1)) <= INVISIBLE
        for ink in inks
    )


# --- Clips ---


def _reference(text: str) -> str:
    return text.removeprefix("url(#").removesuffix(")")


def _rectangle(clip: Element) -> Box | None:
    """The box of a rectangular clip, else None."""
    if len(clip) != 1 or clip[0].tag != "rect" or "transform" in clip[0].attrib:
        return None
    x, y, width, height = (float(clip[0].get(name, 0)) for name in ("x", "y", "width", "height"))
    return Box(x, y, x + width, y + height)


def _narrow_clip(group: Element, box: Box | None) -> None:
    """Keep the clip only on those marks of a group that it may cut."""
    lines = group.attrib["class"].startswith(LINES)
    cut = [not (box is not None and _lies_in(mark, box, lines)) for mark in group]
    if cut and all(cut):
        return
    clip = group.attrib.pop("clip-path")
    marks: list[Element] = []
    for is_cut, run in groupby(zip(cut, group, strict=True), key=lambda pair: pair[0]):
        members = [mark for _, mark in run]
        if is_cut:
            wrapper = Element("g", {"clip-path": clip})
            wrapper.extend(members)
            members = [wrapper]
        marks += members
    group[:] = marks


def _lies_in(mark: Element, box: Box, lines: bool) -> bool:
    extent, shift = _extent(mark), _shift(mark)
    if extent is None or shift is None:
        return False
    if lines:
        return box.holds(extent.moved(*shift), 0.5)
    return box.holds(extent.moved(*shift, *_margins(mark, extent)), 0.01)


def _margins(mark: Element, extent: Box) -> tuple[float, float]:
    """Maximum extent of its stroke beyond the path, horizontally and vertically."""
    if mark.get("stroke", "none") == "none":
        return 0, 0
    width = float(mark.get("stroke-width", 1))
    if mark.tag == "line" and mark.get("stroke-linecap", "butt") == "butt":
        if extent.left == extent.right:
            return width / 2, 0
        if extent.top == extent.bottom:
            return 0, width / 2
    # A mitre may extend by more than half the width.
    return width, width


def _shift(mark: Element) -> tuple[float, float] | None:
    """Translation of its transform; None if that is more than a translation."""
    text = mark.get("transform")
    if text is None:
        return 0, 0
    match = _SHIFT.fullmatch(text)
    return None if match is None else (float(match[1]), float(match[2]))


def _extent(mark: Element) -> Box | None:
    """The box of a path or a line without its stroke; None for anything else."""
    if mark.tag == "line":
        x, y = float(mark.get("x2", 0)), float(mark.get("y2", 0))
        return Box(min(0, x), min(0, y), max(0, x), max(0, y))
    if mark.tag != "path":
        return None
    points = _points(mark.get("d", ""))
    if points is None:
        return None
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return Box(min(xs, default=0), min(ys, default=0), max(xs, default=0), max(ys, default=0))


_ARGUMENTS = {"M": 2, "L": 2, "H": 1, "V": 1, "h": 1, "v": 1, "C": 6, "A": 7, "Z": 0, "z": 0}
"""Path commands that Vega writes -> their number of arguments."""


def _points(path: str) -> list[tuple[float, float]] | None:
    """Points whose bounding box contains the path; None for an unknown command."""
    points: list[tuple[float, float]] = []
    x = y = 0.0
    for command, values in _commands(path):
        if command not in _ARGUMENTS or len(values) != _ARGUMENTS[command]:
            return None
        if command in "Zz":
            continue
        before = (x, y)
        if command in "Hh":
            x = values[0] + (x if command == "h" else 0)
        elif command in "Vv":
            y = values[0] + (y if command == "v" else 0)
        else:
            x, y = values[-2:]
        if command == "C":
            points += [(values[0], values[1]), (values[2], values[3])]
        if command == "A":
            points += _around(before, (x, y), max(values[0], values[1]))
        points.append((x, y))
    return points


def _around(start: tuple[float, float], end: tuple[float, float], radius: float) -> list[tuple[float, float]]:
    """Corners of a box around an arc: a semicircle is around its centre, any other near its ends."""
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    apart = ((end[0] - start[0]) ** 2 + (end[1] - start[1]) ** 2) ** 0.5
    reach = radius if abs(apart - 2 * radius) < 0.01 else 2 * radius + apart / 2
    return [(middle[0] - reach, middle[1] - reach), (middle[0] + reach, middle[1] + reach)]


def _commands(path: str) -> Iterator[tuple[str, list[float]]]:
    """Commands with their arguments; further arguments repeat the command (after M as L)."""
    command = ""
    values: list[float] = []
    for token in _TOKEN.findall(path):
        if token.isalpha():
            if command:
                yield command, values
            command, values = token, []
            continue
        if command and len(values) == _ARGUMENTS.get(command, -1):
            yield command, values
            command, values = "L" if command == "M" else command, []
        values.append(float(token))
    if command:
        yield command, values


# --- Ids ---


def _drop_unused_clips(root: Element) -> None:
    used = {
        _reference(element.attrib["clip-path"]) for element in root.iter() if "clip-path" in element.attrib
    }
    for parent in list(root.iter()):
        for child in [c for c in parent if c.tag == "clipPath" and c.get("id") not in used]:
            parent.remove(child)


def _number_ids(root: Element, prefix: str) -> None:
    """Number ids from 1: Vega keeps counting, so the same figure would give a different file each time."""
    new = {element.attrib["id"]: "" for element in root.iter() if "id" in element.attrib}
    new = {name: f"{prefix}{number}" for number, name in enumerate(new, 1)}
    for element in root.iter():
        for name, value in element.attrib.items():
            if name == "id":
                element.set(name, new[value])
            elif value.startswith("url(#"):
                element.set(name, f"url(#{new.get(_reference(value), _reference(value))})")
            elif name in ("href", "xlink:href") and value.startswith("#"):
                element.set(name, f"#{new.get(value[1:], value[1:])}")
