"""`export`: figures, data and bundles of a page, without a browser."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explorer.cli.extras import need_checkout
from explorer.errors import ConfigError, ExplorerError, one_of
from explorer.files import write_whole

if TYPE_CHECKING:
    from explorer.export.settings import FigureSettings
    from explorer.ui.shared.panels import PageFigures

GIF, BUNDLE = "gif", "bundle"
RUN_KEY = {"replay": "run", "microscope": "run"}
"""Pages about one run; the others take the runs of the picker."""
SETTLED = "runs"
WITHOUT_RUNS = ("overview", "gallery", "playground", "theory", "train", "glossary")
"""Pages that show what they show, whatever runs are chosen."""


def export_command(options: argparse.Namespace) -> int:
    """One file, or a folder of them. Exit code 0; what is wrong is an ExplorerError of one sentence."""
    need_checkout()
    from explorer.ui import headless

    if options.view is None:
        options.view = "compare" if options.run else headless.DEFAULT
    settings = _settings(options)
    kinds = _kinds()
    one_of("--format", options.format, kinds)
    ids = [_run_id(text) for text in options.run]
    headless.use_runs(_folder_of(options))
    try:
        headless.read_runs()
        tokens = _known(ids, options.view)
        opened = headless.open_page(options.view, _query(options, tokens))
        for sentence in opened.said:
            print(f"explorer export: {sentence}", file=sys.stderr)
        if options.list:
            return _list(opened.figures)
        written = _write(opened.figures, options, settings, tokens)
    finally:
        headless.close()
    for path in written:
        print(path)
    return 0


def _kinds() -> list[str]:
    from explorer.export.settings import FORMATS, TABLES

    return [*FORMATS, *TABLES, GIF, BUNDLE]


def _settings(options: argparse.Namespace) -> "FigureSettings":
    from explorer.export.settings import FigureSettings, width_from_text

    given: dict[str, Any] = {
        "height_mm": options.height_mm,
        "font_pt": options.font_pt,
        "title": options.title,
        "dark": options.dark,
        "dpi": options.dpi,
    }
    if options.width_mm is not None:
        given["width_mm"] = width_from_text(options.width_mm)
    return FigureSettings(**{name: value for name, value in given.items() if value is not None})


# --- Runs and query ---


def _run_id(text: str) -> str:
    """A run's id; the path of its folder is taken too."""
    return Path(text).resolve().name if _is_run_folder(text) else text


def _is_run_folder(text: str) -> bool:
    """Also where the text is no path at all: too long, or with a zero byte."""
    return os.path.isfile(os.path.join(text, "run.json"))  # noqa: PTH113, PTH118 (pathlib raises)


def _folder_of(options: argparse.Namespace) -> Path | None:
    """Where own runs are: as asked, or beside the run that was given as a path."""
    if options.runs is not None:
        folder: Path = options.runs
        if not folder.is_dir():
            raise ConfigError("--runs", str(folder), "is not a folder", "give the folder that holds the runs")
        return folder
    from explorer.ui.server.settings import SHIPPED_RUNS

    paths = [Path(text) for text in options.run if _is_run_folder(text)]
    parents = {path.resolve().parent for path in paths} - {SHIPPED_RUNS.resolve()}
    if len(parents) > 1:
        names = ", ".join(sorted(map(str, parents)))
        raise ConfigError(
            "RUN", names, "lie in several folders", "copy them into one, or give ids and --runs"
        )
    return next(iter(parents), None)


def _known(ids: Sequence[str], view: str) -> list[str]:
    """The same ids, if the picker of the pages knows them all."""
    from explorer.figures.arms import arms_of
    from explorer.ui.shared import cached

    runs = cached.list_runs()
    tokens = [arm.token for arm in arms_of(runs)]
    one_run = view in RUN_KEY
    offered = [run.run_id for run in runs if run.has_loads] if one_run else tokens
    for name in ids:
        if name not in offered:
            listed = ", ".join(offered[:60]) or "none"
            raise ConfigError("RUN", name, "is not a run that this view can show", f"choose one of {listed}")
    if ids and view in WITHOUT_RUNS:
        rule, remedy = f"the view {view} does not depend on runs", "leave them out, or use --view compare"
        raise ConfigError("RUN", " ".join(ids), rule, remedy)
    if one_run and len(ids) > 1:
        raise ConfigError("RUN", " ".join(ids), f"the view {view} shows one run", "give one")
    return list(ids)


def _query(options: argparse.Namespace, tokens: Sequence[str]) -> dict[str, str | list[str]]:
    query: dict[str, str | list[str]] = {}
    if tokens:
        one = RUN_KEY.get(options.view)
        if one:
            query[one] = tokens[0]
        query[SETTLED] = list(tokens)
    for text in options.settings:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise ConfigError(
                "--set", text, "must be key=value", "write a parameter of the page, e.g. layer=2"
            )
        query[key] = value
    return query


# --- Files ---


def _list(figures: "PageFigures") -> int:
    for key in figures.keys:
        print(f"{key:<44} {figures.get(key).subject}")
    return 0


def _write(
    figures: "PageFigures", options: argparse.Namespace, settings: "FigureSettings", tokens: Sequence[str]
) -> list[Path]:
    keys = _chosen(figures, options)
    out: Path = options.out
    if options.format == BUNDLE:
        target = out if out.suffix == ".zip" else out / f"{_stem(figures, tokens)}.zip"
        _refuse_existing([target], options.force)
        return [_save(target, _bundle(figures, settings, keys), options.force)]
    names = {key: f"{key}.{options.format}" for key in keys}
    single = len(keys) == 1 and out.suffix == f".{options.format}"
    if not single and out.is_file():
        raise ConfigError("--out", str(out), f"is a file, and there are {len(keys)} figures", "give a folder")
    targets = {key: out if single else out / name for key, name in names.items()}
    _refuse_existing(targets.values(), options.force)
    return [
        _save(target, _content(figures, key, options.format, settings), options.force)
        for key, target in targets.items()
    ]


def _chosen(figures: "PageFigures", options: argparse.Namespace) -> list[str]:
    """Keys of the figures to write. Raises ConfigError where there are none."""
    known = list(figures.films) if options.format == GIF else figures.keys
    if not known:
        what = "animation" if options.format == GIF else "figure"
        remedy = "use --view replay" if options.format == GIF else "choose other runs, or another view"
        raise ConfigError("--view", options.view, f"has no {what} to export here", remedy)
    for key in options.figure or ():
        one_of("--figure", key, known)
    return list(dict.fromkeys(options.figure or known))


def _content(figures: "PageFigures", key: str, kind: str, settings: "FigureSettings") -> bytes:
    from explorer.export.settings import TABLES
    from explorer.ui.shared import exports

    wanted = exports.Choice(settings=settings)
    if kind == GIF:
        return exports.film_file(figures, key, wanted)
    if kind in TABLES:
        return exports.table_file(figures, key, kind)
    return exports.figure_file(figures, key, kind, wanted)


def _bundle(figures: "PageFigures", settings: "FigureSettings", keys: Sequence[str]) -> bytes:
    from explorer.ui.shared import exports

    return exports.bundle_file(figures, exports.Choice(settings=settings), keys)


def _stem(figures: "PageFigures", tokens: Sequence[str]) -> str:
    """Named after the runs that were asked for; a view may show more of them."""
    from explorer.export.provenance import file_stem, run_ids

    return file_stem(figures.view, run_ids=tokens or run_ids(figures.panels.values()))


def _refuse_existing(paths: Any, force: bool) -> None:
    taken = [str(path) for path in paths if path.exists()]
    if taken and not force:
        raise ConfigError("--out", taken[0], "is there already", "choose another place, or add --force")


def _save(path: Path, content: bytes, force: bool) -> Path:
    _refuse_existing([path], force)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        raise ExplorerError(f"--out = {str(path)!r}: cannot be written ({error.strerror}).") from error
    return path
