"""A replay as an animated GIF: the heatmap grows, the bars follow, the step counts.

Loads are drawn with Pillow directly from the counts, at evenly spaced steps; text by the converter of the
figures, whose fonts have all symbols.
"""

import io
from dataclasses import dataclass
from functools import cached_property
from html import escape

import numpy as np
import vl_convert
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from explorer.charts import scales, theme
from explorer.charts.scales import LOAD_LIMIT

MIME = "image/gif"
FRAMES = 50
FRAME_MS, LAST_MS = 110, 2500
WIDTH, HEIGHT = 960, 540
"""16:9, like a slide."""
TOP, BOTTOM = 112, 470
LEFT, RIGHT = 74, 590
BARS_LEFT, BARS_RIGHT = 660, 930
Rgb = tuple[int, int, int]
Stops = tuple[theme.Ink, ...]


@dataclass(frozen=True, kw_only=True)
class Film:
    """Data of an animation. S recorded columns, E experts."""

    key: str
    title: str
    """The run."""
    subtitle: str
    """The layer."""
    steps: NDArray[np.int64]
    """[S]"""
    tokens: NDArray[np.int64]
    """[S, E]"""

    @cached_property
    def ratios(self) -> NDArray[np.float64]:
        """[S, E] load over the uniform load; 0 where nothing was routed."""
        tokens = self.tokens.astype(np.float64)
        total = tokens.sum(1, keepdims=True)
        shares: NDArray[np.float64] = np.divide(
            tokens * tokens.shape[1], total, out=np.zeros_like(tokens), where=total > 0
        )
        return shares


def gif(film: Film, *, dark: bool = False, frames: int = FRAMES) -> bytes:
    """The animation; it loops and pauses on the last frame. An empty film is one frame with a message."""
    sheet = _sheet(film, dark)
    pictures = [_picture(sheet, film, column, dark) for column in columns(film, frames)] or [sheet]
    palette = _palette(dark)
    paletted = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    out = io.BytesIO()
    paletted[0].save(
        out,
        "GIF",
        save_all=True,
        append_images=paletted[1:],
        duration=[FRAME_MS] * (len(paletted) - 1) + [LAST_MS],
        loop=0,
        optimize=False,
        disposal=1,
    )
    return out.getvalue()


def columns(film: Film, frames: int = FRAMES) -> list[int]:
    """Indices of the drawn columns: evenly spaced, including first and last."""
    count = len(film.steps)
    return sorted({round(i) for i in np.linspace(0, count - 1, min(frames, count))}) if count else []


def _rgb(colour: str) -> Rgb:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _colours(ratios: NDArray[np.float64], dark: bool, stops: Stops) -> NDArray[np.uint8]:
    """[..., 3] the colour of every load; zero has its own."""
    inks = np.array([_rgb(ink.pick(dark)) for ink in stops], dtype=np.float64)
    place = scales.place(ratios) * (len(inks) - 1)
    low = np.clip(np.floor(place), 0, len(inks) - 2).astype(int)
    share = (place - low)[..., None]
    mixed = inks[low] * (1 - share) + inks[low + 1] * share
    mixed[ratios <= 0] = _rgb(theme.DEAD.pick(dark))
    rounded: NDArray[np.uint8] = np.round(mixed).astype(np.uint8)
    return rounded


def _ramp(count: int, dark: bool, stops: Stops) -> NDArray[np.uint8]:
    """[count, 3] evenly spaced colours from the lower end of the scale to the upper."""
    return _colours(2.0 ** np.linspace(-LOAD_LIMIT, LOAD_LIMIT, count), dark, stops)


def _palette(dark: bool) -> Image.Image:
    """One palette for all frames, or colours would flicker: load colours, and text on the background."""
    ground = theme.file_background(dark)
    inks = [theme.STRONG_TEXT.pick(dark), theme.NEUTRAL_TEXT.pick(dark)]
    exact = [ground, theme.DEAD.pick(dark), theme.PLAYHEAD.pick(dark), theme.REFERENCE.pick(dark)]
    shades = [theme.mix(ground, ink, share) for ink in inks for share in np.linspace(0.06, 1, 16)]
    entries = [_rgb(colour) for colour in (*exact, *shades)]
    for stops, count in ((scales.stops(), 140), (scales.bar_stops(), 70)):
        ramp = _ramp(count, dark, stops).tolist()
        entries += [(r, g, b) for r, g, b in ramp]
    flat = [value for entry in entries for value in entry]
    image = Image.new("P", (1, 1))
    image.putpalette(flat + flat[:3] * (256 - len(entries)))
    return image


def _picture(sheet: Image.Image, film: Film, column: int, dark: bool) -> Image.Image:
    image = sheet.copy()
    draw = ImageDraw.Draw(image)
    _heatmap(image, film, column, dark)
    x = LEFT + round((column + 0.5) / len(film.steps) * (RIGHT - LEFT))
    draw.line([(x, TOP - 6), (x, BOTTOM + 6)], fill=theme.PLAYHEAD.pick(dark), width=2)
    _bars(draw, film, column, dark)
    words = f"step {film.steps[column]:,}"
    counter = _image([_text(words, 198, 18, 20, theme.STRONG_TEXT.pick(dark), "end", 600)], 200, 26, dark)
    image.paste(counter, (RIGHT - 200, 72))
    return image


def _heatmap(image: Image.Image, film: Film, column: int, dark: bool) -> None:
    """The heatmap up to the current step; the rest of the plot stays blank."""
    colours = _colours(film.ratios[: column + 1], dark, scales.stops()).transpose(1, 0, 2)
    wide = max(1, round((column + 1) / len(film.steps) * (RIGHT - LEFT)))
    cells = Image.fromarray(np.ascontiguousarray(colours))
    image.paste(cells.resize((wide, BOTTOM - TOP), Image.Resampling.NEAREST), (LEFT, TOP))


def _most(film: Film) -> float:
    """End of the bars' axis: the 99th percentile, since one outlier would flatten all other steps."""
    return max(2.0, float(np.ceil(np.percentile(film.ratios.max(1), 99))))


def _bars(draw: ImageDraw.ImageDraw, film: Film, column: int, dark: bool) -> None:
    """The loads of this step, on an axis fixed for the whole film."""
    now = film.ratios[column]
    most = _most(film)
    scale, row = (BARS_RIGHT - BARS_LEFT) / most, (BOTTOM - TOP) / len(now)
    gap = 1 if row > 4 else 0
    for expert, colour in enumerate(_colours(now, dark, scales.bar_stops()).tolist()):
        y, end = TOP + expert * row, BARS_LEFT + min(float(now[expert]), most) * scale
        draw.rectangle((BARS_LEFT, y + gap, max(end, BARS_LEFT + 1), y + row - 1 - gap), fill=tuple(colour))
    line = BARS_LEFT + scale
    draw.line([(line, TOP - 6), (line, BOTTOM + 6)], fill=theme.REFERENCE.pick(dark), width=1)


def _sheet(film: Film, dark: bool) -> Image.Image:
    """The static parts: text, axes, legend."""
    soft, strong = theme.NEUTRAL_TEXT.pick(dark), theme.STRONG_TEXT.pick(dark)
    parts = [_text(film.title, LEFT, 41, 21, strong, weight=600), _text(film.subtitle, LEFT, 90, 14, soft)]
    if len(film.steps):
        parts += [*_axes(film, soft), *_legend(dark)]
    else:
        parts.append(_text("no expert loads recorded", WIDTH / 2, HEIGHT / 2, 18, soft, "middle"))
    return _image(parts, WIDTH, HEIGHT, dark)


def _axes(film: Film, ink: str) -> list[str]:
    experts, below = film.tokens.shape[1], BOTTOM + 20
    row = (BOTTOM - TOP) / experts
    every = next(k for k in (1, 2, 4, 8, 16, 32, 64, 128, 10**6) if k * row >= 14)
    parts = [
        _text(str(e), LEFT - 8, TOP + (e + 0.5) * row + 4, 12, ink, "end") for e in range(0, experts, every)
    ]
    parts += [
        _text("expert", LEFT - 8, TOP - 10, 12, ink, "end"),
        _text(f"{film.steps[0]:,}", LEFT, below, 12, ink),
        _text("step", (LEFT + RIGHT) / 2, below, 12, ink, "middle"),
        _text(f"{film.steps[-1]:,}", RIGHT, below, 12, ink, "end"),
        _text("load of this step, × uniform", BARS_LEFT, 90, 14, ink),
    ]
    most = _most(film)
    for tick in (0.0, 1.0, most):
        place = BARS_LEFT + tick / most * (BARS_RIGHT - BARS_LEFT)
        parts.append(_text(f"{tick:g}", place, below, 12, ink, "middle"))
    return parts


def _legend(dark: bool) -> list[str]:
    ink, y, left, wide = theme.NEUTRAL_TEXT.pick(dark), 512, LEFT + 112, 200
    ramp = _ramp(wide, dark, scales.stops()).tolist()
    parts = [
        f'<rect x="{left + i}" y="{y - 10}" width="1.2" height="8" fill="rgb({r},{g},{b})"/>'
        for i, (r, g, b) in enumerate(ramp)
    ]
    for tick in scales.ticks():
        place = left + (tick + LOAD_LIMIT) / (2 * LOAD_LIMIT) * wide
        parts.append(_text(scales.tick_label(tick), place, y + 12, 11, ink, "middle"))
    box = left + wide + 44
    dead = theme.DEAD.pick(dark)
    parts += [
        _text("load, × uniform", LEFT, y, 12, ink),
        f'<rect x="{box}" y="{y - 11}" width="11" height="11" fill="{dead}"/>',
        _text("no tokens", box + 18, y, 12, ink),
    ]
    return parts


def _text(
    words: str, x: float, y: float, size: int, ink: str, anchor: str = "start", weight: int = 400
) -> str:
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" fill="{ink}" text-anchor="{anchor}" '
        f'font-weight="{weight}">{escape(words)}</text>'
    )


def _image(parts: list[str], width: int, height: int, dark: bool) -> Image.Image:
    ground = f'<rect width="{width}" height="{height}" fill="{theme.file_background(dark)}"/>'
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'font-family="{escape(theme.FILE_FONT, quote=False)}">'
        f"{ground}{''.join(parts)}</svg>"
    )
    return Image.open(io.BytesIO(vl_convert.svg_to_png(svg, scale=1, ppi=72))).convert("RGB")
