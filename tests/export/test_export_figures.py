"""Files of a figure: the right size, every letter, nothing that needs a page or a network."""

import io
import re
import struct
from dataclasses import replace
from html import escape

import altair as alt
import numpy as np
import polars as pl
import pytest
import vl_convert
from chart_frames import bias_frame
from export_panels import HOSTILE, panel
from PIL import Image

from explorer.charts import biases, spec, theme
from explorer.errors import ConfigError
from explorer.export import drawing, figures, svg, vega
from explorer.export.settings import WIDTHS, FigureSettings, width_from_text
from explorer.figures.panel import Panel
from explorer.queries.statements import Statement


def media_box(pdf: bytes) -> tuple[float, float]:
    match = re.search(rb"/MediaBox ?\[0 0 ([\d.]+) ([\d.]+)\]", pdf)
    assert match
    return float(match[1]), float(match[2])


def png_size(png: bytes) -> tuple[int, int, float]:
    """Pixels, and dots per inch from the chunk that says how large one is."""
    at = png.index(b"pHYs")
    per_metre, _, unit = struct.unpack(">IIB", png[at + 4 : at + 13])
    assert unit == 1, "per metre"
    return *struct.unpack(">II", png[16:24]), per_metre * 0.0254  # type: ignore[return-value]


@pytest.mark.parametrize("width", WIDTHS.values())
@pytest.mark.parametrize("height", [None, 70.0])
def test_every_format_has_the_size_that_was_asked_for(width: float, height: float | None) -> None:
    settings = FigureSettings(width_mm=width, height_mm=height, font_pt=7, dpi=200)
    drawn = figures.draw(panel(), settings)
    points = width / 25.4 * 72
    wide, high = media_box(drawing.convert(drawn, "pdf", settings.dpi))
    assert wide == pytest.approx(points, abs=0.01)
    svg = drawing.convert(drawn, "svg", settings.dpi).decode()
    assert f'width="{width:.3f}mm"' in svg
    across, down, dpi = png_size(drawing.convert(drawn, "png", settings.dpi))
    assert across == pytest.approx(width / 25.4 * 200, abs=1)
    assert dpi == pytest.approx(200, abs=0.1)
    assert down / across == pytest.approx(high / wide, abs=0.01)
    if height is not None:
        assert high == pytest.approx(height / 25.4 * 72, abs=0.01)
        assert f'height="{height:.3f}mm"' in svg


def test_with_a_height_the_drawing_fills_its_frame() -> None:
    """Or the letters would be squeezed: the proportions of drawing and frame agree."""
    drawn = figures.draw(panel(), FigureSettings(width_mm=120, height_mm=70))
    width, height = drawn.view_box
    assert width / height == pytest.approx(120 / 70, rel=0.02)


@pytest.mark.parametrize("font", [6.0, 9.0, 14.0])
def test_letters_of_the_axes_have_the_size_that_was_asked_for(font: float) -> None:
    drawn = figures.draw(panel(), FigureSettings(font_pt=font))
    assert 'font-size="11px"' in drawn.body
    assert 11 * drawn.width_pt / drawn.view_box[0] == pytest.approx(font, rel=0.005)


def test_the_title_is_there_or_not() -> None:
    with_title = figures.draw(panel(), FigureSettings()).body
    without = figures.draw(panel(), FigureSettings(title=False)).body
    for text in ("MaxVio over training", "It falls."):
        assert f">{text}<" in with_title
        assert f">{text}<" not in without


@pytest.mark.parametrize(
    ("runs", "line"),
    [(["a-seed0"], "Run: a-seed0"), (["a", "b"], "Runs: a, b"), (["long" * 20, "name" * 20], "2 runs")],
)
def test_a_title_ends_with_the_runs_of_the_figure(runs: list[str], line: str) -> None:
    drawn = panel(statements=(Statement(sql="SELECT 1", params={"run_ids": runs}),))
    assert f">{line}<" in figures.draw(drawn, FigureSettings()).body
    assert f">{line}<" not in figures.draw(drawn, FigureSettings(title=False)).body


def test_signs_for_spaces_do_not_change_the_font_of_their_line() -> None:
    svg = figures.draw(panel(finding="“␣the” and “⏎”."), FigureSettings()).body
    assert ">“·the” and “¶”.<" in svg


def test_a_name_full_of_markup_stays_text() -> None:
    hostile = panel(subject=HOSTILE, finding=HOSTILE, how=HOSTILE)
    svg = figures.render(hostile, "svg", FigureSettings()).decode()
    assert "<script" not in svg
    html = figures.render(hostile, "html", FigureSettings(), footer=HOSTILE).decode()
    assert HOSTILE not in html
    assert html.count(escape(HOSTILE)) >= 4


def test_no_sign_that_we_write_lacks_a_glyph() -> None:
    """A missing one would be drawn as the box of the font, so it would look like any other missing one."""
    box = _letter("\U000f0000")
    for sign in "α×−␣≤≥·–±“”μ∞→":
        assert _letter(sign) != box, sign


def _letter(text: str) -> bytes:
    drawn = drawing.Drawing(
        view_box=(30, 30),
        body=f'<text x="5" y="20" font-size="16" font-family="{escape(theme.FILE_FONT)}">{text}</text>',
        width_pt=30,
        height_pt=30,
    )
    return drawing.convert(drawn, "png", 300)


def test_a_page_of_a_figure_asks_nobody_for_anything() -> None:
    html = figures.render(panel(), "html", FigureSettings()).decode()
    outside = re.sub(r"(<script>).*?</script>", r"\1", html, flags=re.DOTALL)
    assert outside.count("<script>") == 2
    assert not re.findall(r"<(?:script|img|iframe)[^>]*\ssrc=|<link\b|@import|url\(\s*['\"]?https?:", outside)
    assert "default-src 'none'" in html
    assert '"editor":false' in html, "the link to an editor elsewhere would carry the figure there"


def test_a_playhead_that_follows_the_page_stands_still_in_a_file() -> None:
    frame = bias_frame({0: 0.2, 1: -0.2})
    chart = spec.make(biases.bias_trajectories(frame, playhead=theme.Follow.PLAYER))
    assert vega.follows_player(chart)
    still = panel(spec=chart, playhead=12.0)
    text = vega.to_json(vega.complete(still))
    assert '"element"' not in text
    assert '"name": "playhead", "value": 12' in text
    assert ">step 12<" in figures.draw(still, FigureSettings()).body
    assert ">step " not in figures.draw(replace(still, playhead=None), FigureSettings()).body.replace(
        ">step<", ""
    )


def test_whatever_hangs_on_an_element_of_the_page_is_let_go() -> None:
    """Also what a layer deep inside binds; what a widget of Vega's own would bind stays."""
    bound = alt.param(name="hover", value="", bind=alt.BindDirect(element="html", event="x"))
    chart = alt.Chart(pl.DataFrame({"a": [1]})).mark_point().encode(x="a:Q").add_params(bound)
    layered = alt.layer(chart, alt.Chart(pl.DataFrame({"a": [1]})).mark_point())
    done = vega.complete(panel(spec=spec.make(layered)))
    assert '"element"' not in vega.to_json(done)
    assert '"name": "hover"' in vega.to_json(done)


def test_invisible_points_stay_in_the_page_and_not_in_a_still() -> None:
    still = vega.complete(panel())
    live = vega.complete(panel(), still=False)
    assert len(live["layer"]) == len(still["layer"]) + 1
    assert not any(param["name"].startswith("near") for param in still.get("params", ()))


def test_what_is_no_number_is_null() -> None:
    frame = pl.DataFrame({"a": [1.0, float("nan"), float("inf"), None], "n": [1, 2, 3, None]})
    assert vega.rows(frame) == [
        {"a": 1.0, "n": 1},
        {"a": None, "n": 2},
        {"a": None, "n": 3},
        {"a": None, "n": None},
    ]


def test_quick_drawing_looks_the_same() -> None:
    """Opacity moved and clips dropped: but for the caps of lines at the edge, the converter's own picture."""
    settings = FigureSettings(width_mm=100, dpi=100)
    drawn, plain = figures.draw(panel(), settings), _as_converted(panel(), settings)
    assert drawn.body.count("clip-path=") < plain.body.count("clip-path=")
    assert _different(drawn, plain, settings) < 0.002


def _as_converted(shown: Panel, settings: FigureSettings) -> drawing.Drawing:
    """Vega's own drawing, with every clip and opacity where Vega put it."""
    chart = figures.chart_of(shown, dark=False).at(drawing.pixels(settings), title=settings.title)
    root = svg.parse(vl_convert.vegalite_to_svg(vega.to_json(chart)))
    wide, high = svg.size(root)
    width_pt = settings.width_pt
    return drawing.Drawing(
        view_box=(wide, high), body=svg.markup(root), width_pt=width_pt, height_pt=width_pt * high / wide
    )


@pytest.mark.parametrize("words", ["Short.", "A long finding that is broken into lines. " * 9])
@pytest.mark.parametrize("subject", ["MaxVio", "A subject that is longer than the figure is wide " * 3])
def test_a_drawing_whose_title_is_taken_away_was_never_given_one(subject: str, words: str) -> None:
    settings = FigureSettings(width_mm=100)
    titled = panel(subject=subject, finding=words)
    _, untitled = drawing.draw_twice(figures.chart_of(titled, dark=False), settings)
    never = figures.draw(titled, replace(settings, title=False))
    assert untitled == never


def _different(one: drawing.Drawing, other: drawing.Drawing, settings: FigureSettings) -> float:
    """The share of pixels that the eye could tell apart."""
    pictures = [
        np.asarray(Image.open(io.BytesIO(drawing.convert(d, "png", settings.dpi))).convert("RGB"), dtype=int)
        for d in (one, other)
    ]
    return float((np.abs(pictures[0] - pictures[1]).max(-1) > 6).mean())


def test_settings_that_no_figure_can_have_are_named() -> None:
    with pytest.raises(ConfigError, match="width_mm = 10"):
        FigureSettings(width_mm=10)
    with pytest.raises(ConfigError, match="dpi"):
        FigureSettings(dpi=5000)
    with pytest.raises(ConfigError, match="wide"):
        width_from_text("wide")
    assert width_from_text("one-column") == 85
    assert width_from_text("120mm") == 120
    with pytest.raises(ConfigError, match="format"):
        figures.render(panel(), "tiff", FigureSettings())


@pytest.mark.parametrize("dark", [False, True])
def test_the_ground_is_light_unless_asked_otherwise(dark: bool) -> None:
    inner = figures.draw(panel(), FigureSettings(dark=dark)).body
    assert f'fill="{theme.file_background(dark)}"' in inner
