"""Everything of a view in one zip: figures, data, specifications, SQL, manifest and a report.

A figure that cannot be drawn does not affect the others: the manifest lists its error, and README and
report mention it at the top.
"""

import io
import json
import zipfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from explorer.export import data, figures, report, vega
from explorer.export.converters import Converters, words
from explorer.export.drawing import pixels
from explorer.export.orders import Order, OrderFiles
from explorer.export.provenance import Provenance, run_entry, sql_text, statement_entry, versions
from explorer.export.settings import TABLES, FigureSettings
from explorer.figures.panel import Panel

STILLS = ("svg", "png", "pdf")
_TIME = (1980, 1, 1, 0, 0, 0)
"""Timestamp of every member, so that equal content gives an equal file; the manifest has the real time."""


@dataclass(kw_only=True)
class Entry:
    """A figure in the bundle."""

    panel: Panel
    files: dict[str, bytes] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    drawing: "Future[OrderFiles] | None" = None
    """Its stills, drawn by another process meanwhile."""
    picture: str | None = None
    """Drawing for the report, which writes the title itself."""


def make(
    panels: Iterable[Panel],
    provenance: Callable[[Sequence[Panel]], Provenance],
    settings: FigureSettings,
    failed: Sequence[str] = (),
    converters: Converters | None = None,
) -> bytes:
    """Make the zip. Member names depend only on the keys of the figures.

    `panels` may be lazy: each panel is drawn by `converters` while the next is built (None: creates its own);
    they are stopped afterwards. provenance: of these panels. failed: messages on figures that could not be
    built; it may grow while the panels are consumed.
    """
    with nullcontext(converters) if converters is not None else Converters() as pool:
        entries = [_entry(panel, settings, pool) for panel in panels]
        pool.share_rest()
        for entry in entries:
            _take_drawing(entry)
        # They end while the zip is written.
        pool.stop()
        pool.keep()
        return _zipped(entries, provenance([entry.panel for entry in entries]), settings, failed)


def _zipped(
    entries: Sequence[Entry], provenance: Provenance, settings: FigureSettings, failed: Sequence[str]
) -> bytes:
    problems = [*failed, *(f"{e.panel.subject}: {problem}" for e in entries for problem in e.problems)]
    members: dict[str, bytes] = {
        "README.md": report.readme(entries, provenance, problems).encode(),
        "manifest.json": _json(manifest(entries, provenance, settings, problems)),
        "report.html": report.page(entries, provenance, settings, problems).encode(),
    }
    for entry in entries:
        members |= entry.files
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in members.items():
            zipped.writestr(_member(name), content)
    return out.getvalue()


def _member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, date_time=_TIME)
    # Both are compressed already.
    info.compress_type = zipfile.ZIP_STORED if name.endswith((".png", ".parquet")) else zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    return info


def _entry(panel: Panel, settings: FigureSettings, converters: Converters) -> Entry:
    entry, key = Entry(panel=panel), panel.key
    try:
        entry.drawing = converters.draw(_order(panel, settings))
        live = figures.chart_of(panel, dark=settings.dark, still=False)
        spec = vega.to_json(live.at(pixels(settings), title=settings.title))
        entry.files[f"spec/{key}.vl.json"] = msgspec.json.format(spec, indent=1).encode()
    except Exception as error:  # any error, so that the other figures are not lost with this one
        entry.problems.append(f"the figure could not be drawn ({words(error)})")
    for kind in TABLES:
        try:
            entry.files[f"data/{key}.{kind}"] = data.table(panel, kind)
        except Exception as error:
            entry.problems.append(f"its data could not be written as {kind} ({words(error)})")
    if panel.statements:
        entry.files[f"sql/{key}.sql"] = sql_text(panel).encode()
    return entry


def _order(panel: Panel, settings: FigureSettings) -> Order:
    chart = figures.chart_of(panel, dark=settings.dark)
    # The report reuses the drawing of the files if they differ only in the title.
    same = replace(settings, title=False, dpi=report.PICTURE.dpi) == report.PICTURE
    page = None if same else (figures.chart_of(panel, dark=False), report.PICTURE)
    return Order(chart=chart, settings=settings, kinds=STILLS, page=page)


def _take_drawing(entry: Entry) -> None:
    """Wait for the stills of an entry; an error is added to its problems."""
    if entry.drawing is None:
        return
    try:
        drawing = entry.drawing.result()
    except Exception as error:
        entry.problems.insert(0, f"the figure could not be drawn ({error})")
        return
    stills = {f"figures/{entry.panel.key}.{kind}": content for kind, content in drawing.files.items()}
    entry.files = {**stills, **entry.files}
    entry.picture = drawing.in_page


def manifest(
    entries: Sequence[Entry], provenance: Provenance, settings: FigureSettings, problems: Sequence[str]
) -> dict[str, Any]:
    """Contents and provenance of the bundle."""
    return {
        "made_by": "MoE Routing Explorer",
        "version": versions()["explorer"],
        "versions": versions(),
        "created_at": provenance.created_at,
        "view": provenance.view,
        "title": provenance.title,
        "permalink": provenance.permalink,
        "settings": settings.to_dict(),
        "problems": list(problems),
        "runs": [run_entry(run) for run in provenance.runs],
        "figures": [_figure(entry) for entry in entries],
    }


def _figure(entry: Entry) -> dict[str, Any]:
    panel = entry.panel
    rows = data.rows(panel)
    return {
        "key": panel.key,
        "subject": panel.subject,
        "finding": panel.finding,
        "how_to_read": panel.how,
        "playhead": panel.playhead,
        "rows": rows.height,
        "columns": rows.columns,
        "files": sorted(entry.files),
        "problems": entry.problems,
        "statements": [statement_entry(statement) for statement in panel.statements],
    }


def _json(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=1, default=str) + "\n").encode()
