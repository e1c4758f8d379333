"""The report of a bundle, one HTML file that reads and prints like a paper's supplement, and its README."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Protocol

from explorer.export import pages
from explorer.export.provenance import Provenance, by_sql, versions
from explorer.export.settings import FigureSettings
from explorer.figures.panel import Panel

PICTURE = FigureSettings(title=False)
"""Settings of the report's figures: the defaults of the files, so that each chart is drawn once, on white."""


class Entry(Protocol):
    """The part of `bundle.Entry` that the report needs."""

    panel: Panel
    files: dict[str, bytes]
    problems: list[str]
    picture: str | None


# A printed page is clipped at its margins: drawings leave 5 % of the width for machines that substitute
# wider fonts.
_STYLE = """
@page{size:A4;margin:18mm 20mm}
main{max-width:172mm;margin:0 auto;padding:14mm 6mm 20mm;font-size:10.5pt;line-height:1.5}
h1{font-size:20pt;line-height:1.2;margin:0 0 2mm}
h2{font-size:14pt;margin:11mm 0 3mm;border-bottom:1px solid var(--line);padding-bottom:1mm}
h3{font-size:11.5pt;margin:0 0 1mm}
h2,h3{break-after:avoid}
p{margin:0 0 2.5mm}
a{color:#0B62A4}
a,code{overflow-wrap:anywhere}
.soft{color:var(--soft);font-size:9pt}
.problem{border-left:3px solid #AD4A00;padding:2mm 4mm;background:#FDF3EA;margin:4mm 0}
table{border-collapse:collapse;width:100%;font-size:8pt;line-height:1.35}
th{text-align:left;font-weight:600;border-bottom:1px solid var(--text)}
th,td{padding:1mm 2.5mm 1mm 0;vertical-align:top;overflow-wrap:anywhere}
td{border-bottom:1px solid var(--line)}
.number{text-align:right}
th,.number,.digest{white-space:nowrap;overflow-wrap:normal}
tr{break-inside:avoid}
figure{margin:7mm 0 9mm;break-inside:avoid}
figure svg,figure img{display:block;overflow:visible;width:95%;height:auto;margin:2mm 0}
figcaption p{margin:0 0 1.5mm}
details{font-size:9pt;margin-top:1mm}
summary{color:var(--soft);cursor:pointer}
pre{white-space:pre-wrap;overflow-wrap:anywhere;font:7.5pt/1.4 Menlo,Consolas,'DejaVu Sans Mono',monospace;
background:#F6F8FA;padding:2.5mm 3mm;margin:1.5mm 0}
nav{break-inside:avoid}
nav ol{columns:2;column-gap:8mm;padding-left:7mm;margin:0;font-size:9.5pt}
nav li{margin-bottom:.8mm;break-inside:avoid}
nav a{text-decoration:none}
@media print{main{padding:0;max-width:none}details:not([open]){display:none}a{color:inherit}}
@media (max-width:700px){nav ol{columns:1}}
"""


def page(
    entries: Sequence[Entry], provenance: Provenance, settings: FigureSettings, problems: Sequence[str]
) -> str:
    """The complete report; it needs no other file and no network."""
    body = "\n".join(
        [
            "<main>",
            _head(entries, provenance),
            _problems(problems),
            _runs(provenance),
            _contents(entries),
            "<h2>Figures</h2>",
            *(_figure(number, entry) for number, entry in enumerate(entries, 1)),
            _method(provenance, settings),
            "</main>",
        ]
    )
    return pages.document(f"{provenance.title} · MoE Routing Explorer", body, _STYLE)


def _head(entries: Sequence[Entry], provenance: Provenance) -> str:
    many = len(entries)
    figures_ = "one figure" if many == 1 else f"{many} figures" if many else "no figure"
    runs = len(provenance.runs)
    of = f" of {'one run' if runs == 1 else f'{runs} runs'}" if runs else ""
    return (
        f'<header><p class="soft">MoE Routing Explorer {escape(versions()["explorer"])} · '
        f"{escape(provenance.created_at[:10])}</p>\n<h1>{escape(provenance.title)}</h1>\n"
        f"<p>{figures_.capitalize()}{of}, with the data and the SQL behind {'it' if many == 1 else 'each'}. "
        f"The same view in the app: <code>{escape(provenance.permalink)}</code></p></header>"
    )


def _problems(problems: Sequence[str]) -> str:
    if not problems:
        return ""
    items = "".join(f"<li>{escape(problem)}</li>" for problem in problems)
    return f'<div class="problem"><b>Incomplete.</b> <ul>{items}</ul></div>'


def _runs(provenance: Provenance) -> str:
    if not provenance.runs:
        return ""
    rows = "".join(
        "<tr>"
        f"<td>{escape(str(run.get('run_id')))}</td>"
        f"<td>{escape(str(run.get('balancer_label') or ''))}</td>"
        f'<td class="number">{_text(run.get("seed"))}</td>'
        f'<td class="number">{_steps(run.get("last_step"))}</td>'
        f'<td class="digest">{_text(run.get("config_digest"))}</td></tr>'
        for run in _by_rule(provenance)
    )
    return (
        "<h2>Runs</h2>\n<table><thead><tr><th>run</th><th>balancing</th>"
        '<th class="number">seed</th><th class="number">steps</th><th>configuration</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>\n"
        '<p class="soft">Configuration: digest of the whole configuration; the manifest holds it in full, '
        "with versions, text and device.</p>"
    )


def _by_rule(provenance: Provenance) -> list[Mapping[str, Any]]:
    """Rows grouped by rule, in the order of the view."""
    labels = list(dict.fromkeys(run.get("balancer_label") for run in provenance.runs))
    return sorted(
        provenance.runs, key=lambda run: (labels.index(run.get("balancer_label")), run.get("seed") or 0)
    )


def _text(value: Any) -> str:
    return "–" if value is None or value == "" else escape(str(value))


def _steps(last: Any) -> str:
    return "–" if last is None else f"{int(last) + 1:,}"


def _contents(entries: Sequence[Entry]) -> str:
    if len(entries) < 3:
        return ""
    items = "".join(
        f'<li><a href="#{escape(e.panel.key)}">{escape(e.panel.subject)}</a></li>' for e in entries
    )
    return f"<h2>Contents</h2>\n<nav><ol>{items}</ol></nav>"


def _figure(number: int, entry: Entry) -> str:
    panel = entry.panel
    if entry.picture is None:
        picture = f'<p class="problem">{escape("; ".join(entry.problems))}</p>'
    else:
        picture = entry.picture
    at = "" if panel.playhead is None else f" Playhead at step {panel.playhead:,.0f}."
    files = " · ".join(f"<code>{escape(name)}</code>" for name in sorted(entry.files))
    return (
        f'<figure id="{escape(panel.key)}">\n<h3>Figure {number}. {escape(panel.subject)}</h3>\n{picture}\n'
        f"<figcaption><p>{escape(panel.finding)}</p>\n"
        f'<p class="soft">How to read it: {escape(panel.how)}{at}</p>\n'
        f"{_sql(panel)}<details><summary>Files</summary><p>{files}</p></details></figcaption>\n</figure>"
    )


def _sql(panel: Panel) -> str:
    if not panel.statements:
        return '<p class="soft">Computed without querying recorded runs.</p>'
    parts = []
    for sql, params in by_sql(panel):
        times = "" if len(params) == 1 else f"run {len(params)} times, with\n-- "
        lines = "\n-- ".join(params)
        parts.append(f"<pre>{escape(sql)}\n\n-- {times}{escape(lines)}</pre>")
    count = "1 statement" if len(parts) == 1 else f"{len(parts)} statements"
    return f"<details><summary>SQL ({count})</summary>{''.join(parts)}</details>\n"


def _method(provenance: Provenance, settings: FigureSettings) -> str:
    used = ", ".join(f"{name} {version}" for name, version in versions().items())
    height = f" × {settings.height_mm:g} mm" if settings.height_mm else " mm wide"
    return (
        "<h2>How this was made</h2>\n"
        f"<p>Files in <code>figures/</code> are {settings.width_mm:g}{height} with letters of "
        f"{settings.font_pt:g} pt, PNG at {settings.dpi} dots per inch. <code>spec/</code> has each figure "
        "as Vega-Lite with its data, <code>data/</code> the numbers as CSV and Parquet, "
        "<code>manifest.json</code> the runs with their configurations and the statements.</p>\n"
        f'<p class="soft">Made {escape(provenance.created_at)} with {escape(used)}.</p>'
    )


def readme(entries: Sequence[Entry], provenance: Provenance, problems: Sequence[str]) -> str:
    """How to read each figure, as Markdown."""
    lines = [f"# {provenance.title}", ""]
    if problems:
        lines += ["**Incomplete:**", "", *(f"- {problem}" for problem in problems), ""]
    lines += [
        f"Made {provenance.created_at} by MoE Routing Explorer {versions()['explorer']}.",
        f"The same view in the app: `{provenance.permalink}`",
        "",
        "Open `report.html` first: it is self-contained and needs no network.",
        "",
        "| folder | contents |",
        "|---|---|",
        "| `figures/` | every figure as SVG, PNG and PDF |",
        "| `data/` | the numbers behind it as CSV and Parquet; lists in a CSV are JSON |",
        "| `spec/` | the figure as Vega-Lite with its data |",
        "| `sql/` | the SQL statements behind its numbers |",
        "| `manifest.json` | runs with seeds, digests, configurations and versions; settings; statements |",
        "",
        "## Figures",
        "",
    ]
    for number, entry in enumerate(entries, 1):
        panel = entry.panel
        lines += [
            f"### {number}. {panel.subject} (`{panel.key}`)",
            "",
            panel.finding,
            "",
            f"How to read it: {panel.how}",
            "",
        ]
    return "\n".join(lines)
