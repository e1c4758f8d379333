"""Self-contained HTML pages: no script, style, font or image is fetched."""

from functools import cache
from html import escape

import plotly.graph_objects as go
import vl_convert

from explorer.charts import theme
from explorer.charts.full_heatmap import PLOTLY_CONFIG
from explorer.export import vega
from explorer.export.settings import FigureSettings
from explorer.figures.panel import Panel

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:"
)
"""What the page may load: itself. The browser enforces it."""

_LIGHT = {"ground": "#FFFFFF", "text": "#24292F", "soft": "#5A6270", "line": "#E1E4E8"}
_DARK = {"ground": "#0F1218", "text": "#E6E9EE", "soft": "#A9B0BC", "line": "#2C313A"}


@cache
def _script() -> str:
    """Vega, Vega-Lite and vega-embed."""
    # Its type stub has forgotten the default.
    return str(vl_convert.javascript_bundle()).replace(  # type: ignore[call-arg]
        "</script", "<\\/script"
    )


def document(title: str, body: str, style: str, *, scripts: str = "", dark: bool = False) -> str:
    """A whole page."""
    inks = ";".join(f"--{name}:{value}" for name, value in (_DARK if dark else _LIGHT).items())
    scheme = "dark" if dark else "light"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n:root{{{inks};color-scheme:{scheme}}}\n"
        f"body{{margin:0;background:var(--ground);color:var(--text);font-family:{theme.FILE_FONT}}}\n{style}</style>\n"
        f"</head>\n<body>\n{body}\n{scripts}</body>\n</html>\n"
    )


_FIGURE_STYLE = """
main{max-width:__WIDTH__px;margin:0 auto;padding:24px 16px;line-height:1.5;font-size:15px}
h1{font-size:20px;margin:0 0 6px}
p{margin:0 0 14px}
.soft{color:var(--soft);font-size:13px}
#figure{overflow-x:auto}
footer{border-top:1px solid var(--line);margin-top:20px;padding-top:10px}
"""


def figure_page(panel: Panel, settings: FigureSettings, *, width: int, footer: str = "") -> str:
    """One figure with hover and zoom, and its sentences. Width in screen pixels."""
    spec = {**vega.complete(panel, dark=settings.dark, still=False), "width": width}
    head = f"<h1>{escape(panel.subject)}</h1>\n<p>{escape(panel.finding)}</p>\n" if settings.title else ""
    body = (
        f'<main>\n{head}<div id="figure" role="img" aria-label="{escape(panel.subject)}"></div>\n'
        f'<p class="soft">{escape(panel.how)}</p>\n'
        + (f'<footer class="soft">{escape(footer)}</footer>\n' if footer else "")
        + "</main>"
    )
    # Of the menu only what stays here: its editor link would send the figure to another site.
    options = '{"renderer":"svg","actions":{"export":true,"source":false,"compiled":false,"editor":false}}'
    # No sign of HTML may stand inside a script: "<!--" alone would change how its end is looked for.
    text = vega.to_json(spec).replace("<", "\\u003c")
    scripts = (
        f"<script>{_script()}</script>\n<script>vegaEmbed('#figure',{text},{options})"
        ".catch(function(e){document.getElementById('figure').textContent='The figure cannot be drawn: '+e})"
        "</script>\n"
    )
    style = _FIGURE_STYLE.replace("__WIDTH__", str(width + 40))
    return document(panel.subject, body, style, scripts=scripts, dark=settings.dark)


def plotly_page(figure: go.Figure) -> bytes:
    """A Plotly figure with its library inside, and without the button that would upload it."""
    html = figure.to_html(include_plotlyjs=True, config=PLOTLY_CONFIG, full_html=True)
    return (
        str(html)
        .replace("<head>", f'<head><meta http-equiv="Content-Security-Policy" content="{POLICY}">', 1)
        .encode()
    )
