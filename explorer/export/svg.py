"""What Vega's SVG needs to be drawn quickly and without seams, and to lie beside others in one page."""

import re
from collections.abc import Iterator

_TAG = re.compile(r"<(path|line|text|rect)\b[^>]*>")
_CLIPPED = re.compile(
    r'(<g class="mark-(?:line|area|trail)[^"]*")( clip-path="url\(#([^)]+)\)")([^>]*>)(.*?)</g>', re.DOTALL
)
_CLIP = re.compile(
    r'<clipPath id="([^"]+)"><rect x="([-\d.]+)" y="([-\d.]+)" width="([\d.]+)" height="([\d.]+)"'
)
_PATH = re.compile(r' d="([^"]*)"')
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")
_ID = re.compile(r'(\bid="|url\(#|\bhref="#)([^")]+)')


def prepared(svg: str) -> str:
    """The same picture.

    A converter draws an element with `opacity` or a clip on a sheet of its own, as large as the picture:
    seconds for a figure of many lines. So opacity goes to the stroke or fill where there is only one of them,
    and clips that cut nothing are dropped. Cells of a heatmap get crisp edges, or seams show between them.
    """
    svg = _TAG.sub(lambda found: _opacity(found.group()), svg)
    boxes = {name: tuple(map(float, box)) for name, *box in _CLIP.findall(svg)}
    svg = _CLIPPED.sub(lambda found: _unclipped(found, boxes), svg)
    svg = svg.replace('class="mark-rect', 'shape-rendering="crispEdges" class="mark-rect')
    return _counted(svg)


def with_own_ids(svg: str, prefix: str) -> str:
    """Clips and gradients named after the figure: pages with several would confuse them otherwise."""
    return _ID.sub(lambda found: f"{found[1]}{prefix}-{found[2]}", svg)


def _counted(svg: str) -> str:
    """Ids numbered from 1: Vega goes on counting, so the same figure would be another file each time."""
    known: dict[str, str] = {}
    return _ID.sub(lambda found: found[1] + known.setdefault(found[2], f"c{len(known) + 1}"), svg)


def _opacity(tag: str) -> str:
    if ' opacity="' not in tag:
        return tag
    is_line = tag.startswith("<line")
    strokes, fills = ' stroke="' in tag, ' fill="' in tag and ' fill="none"' not in tag
    if strokes and (is_line or not fills):
        return tag.replace(' opacity="', ' stroke-opacity="') if " stroke-opacity=" not in tag else tag
    if fills and not strokes:
        return tag.replace(' opacity="', ' fill-opacity="') if " fill-opacity=" not in tag else tag
    return tag


def _unclipped(found: "re.Match[str]", boxes: dict[str, tuple[float, ...]]) -> str:
    before, clip, name, rest, inside = found.groups()
    box = boxes.get(name)
    cuts = box is None or "transform=" in inside or not all(_lies_in(d, box) for d in _PATH.findall(inside))
    return f"{before}{clip if cuts else ''}{rest}{inside}</g>"


def _lies_in(path: str, box: tuple[float, ...]) -> bool:
    """Whether all points do; a path is "M0,1L2,3": absolute pairs, or it is taken for one that does not."""
    if re.search(r"[a-zHVAQSTC]", path.replace("e-", "").replace("Z", "")):
        return False
    left, top, width, height = box
    return all(
        left - 0.5 <= x <= left + width + 0.5 and top - 0.5 <= y <= top + height + 0.5
        for x, y in _pairs(path)
    )


def _pairs(path: str) -> Iterator[tuple[float, float]]:
    numbers = [float(text) for text in _NUMBER.findall(path)]
    return zip(numbers[::2], numbers[1::2], strict=False)
