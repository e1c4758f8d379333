"""`export`: figures, data and bundles of a page, without a browser."""

import argparse
import gc
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explorer.cli.extras import need_checkout
from explorer.config.places import SHIPPED_RUNS, NoHomeError, default_path
from explorer.config.server import Settings
from explorer.errors import ConfigError, ExplorerError, choose_one, one_of
from explorer.files import write_whole

if TYPE_CHECKING:
    from explorer.export.converters import Converters
    from explorer.export.files import RunRows
    from explorer.export.kept import KeptDrawings
    from explorer.export.opened import OpenedView
    from explorer.export.settings import FigureSettings
    from explorer.figures.arms import Run
    from explorer.store import Index

GIF, BUNDLE = "gif", "bundle"
DEFAULT_VIEW = "overview"
RUN_KEY = {"replay": "run", "microscope": "run", "serving": "run"}
"""Views of one run; the others take the runs of the picker."""
SELECTED = "runs"
WITHOUT_RUNS = ("overview", "gallery", "playground", "theory", "lessons")
"""Views that do not depend on the selected runs."""


def export_command(options: argparse.Namespace) -> int:
    """Write one file, or a folder of files. Exit code 0. Raises ExplorerError."""
    need_checkout()
    settings = _settings(options)
    one_of("--format", options.format, _kinds())
    with _converters(options) as converters, _without_collections():
        return _export(options, settings, converters)


@contextmanager
def _converters(options: argparse.Namespace) -> "Iterator[Converters | None]":
    """Processes that draw a bundle; they start while this one loads its libraries."""
    if options.format != BUNDLE or options.list:
        yield None
        return
    from explorer.export.converters import Converters

    with Converters(_kept_drawings(Settings.from_environment().index)) as converters:
        yield converters


def _kept_drawings(index: Path | None) -> "KeptDrawings | None":
    """Drawings of earlier exports, beside the usual index; None where there is no place for one."""
    from explorer.export.kept import KeptDrawings

    try:
        path = index or default_path()
    except NoHomeError:
        return None
    return KeptDrawings(path.with_suffix(".drawings"))


@contextmanager
def _without_collections() -> Iterator[None]:
    """Keep the garbage collector from walking, again and again, through libraries that stay until the end."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _export(options: argparse.Namespace, settings: "FigureSettings", converters: "Converters | None") -> int:
    from explorer.figures import views

    if options.view is None:
        options.view = "compare" if options.run else DEFAULT_VIEW
    open_view = views.opener(options.view)
    ids = [_run_id(text) for text in options.run]
    server = Settings.from_environment()
    own_runs = _folder_of(options) or server.own_runs
    with _index(server.index, own_runs, server.shipped_runs) as index:
        from explorer.export.opened import OpenedView
        from explorer.figures.store import OpenStore

        store, runs = OpenStore(index), _runs(index)
        _refuse_unknown(ids, options.view, runs)
        opened = open_view(store, runs, _query(options, ids))
        for sentence in opened.notices:
            _say(sentence)
        view = OpenedView(view=options.view, opened=opened, store=store)
        if options.list:
            return _list(view)
        if options.format == BUNDLE:
            rows_of = partial(_run_rows, index)
            written = [_write_bundle(view, options, settings, ids, rows_of, converters)]
        else:
            written = _write(view, options, settings)
    for path in written:
        print(path)
    return 0


def _say(sentence: str) -> None:
    print(f"explorer export: {sentence}", file=sys.stderr)


@contextmanager
def _index(path: Path | None, *folders: Path) -> Iterator["Index"]:
    """The updated index; a private one if a running app owns it."""
    from explorer.store import Index

    with Index.open(path) as index:
        if index.notice:
            _say(index.notice)
        report = index.ingest(folders)
        if report.changed or report.removed:
            runs = "1 run" if len(report.changed) == 1 else f"{len(report.changed)} runs"
            _say(f"index brought up to date in {report.seconds:.1f} s ({runs} read)")
        yield index


def _runs(index: "Index") -> list["Run"]:
    from explorer.figures.arms import run_from_row
    from explorer.queries.runs import list_runs

    with index.cursor() as cur:
        return [run_from_row(row) for row in list_runs(cur).to_dicts()]


def _kinds() -> list[str]:
    from explorer.export.settings import FORMATS, TABLES

    return [*FORMATS, *TABLES, GIF, BUNDLE]


def _settings(options: argparse.Namespace) -> "FigureSettings":
    from explorer.export.settings import FigureSettings, width_from_text

    values: dict[str, Any] = {
        "height_mm": options.height_mm,
        "font_pt": options.font_pt,
        "title": options.title,
        "dark": options.dark,
        "dpi": options.dpi,
    }
    if options.width_mm is not None:
        values["width_mm"] = width_from_text(options.width_mm)
    return FigureSettings(**{name: value for name, value in values.items() if value is not None})


# --- Runs and query ---


def _run_id(text: str) -> str:
    """A run's id, also from the path of its folder."""
    return Path(text).resolve().name if _is_run_folder(text) else text


def _is_run_folder(text: str) -> bool:
    """Also for an invalid path: too long, or with a zero byte."""
    return os.path.isfile(os.path.join(text, "run.json"))  # noqa: PTH113, PTH118 (pathlib raises)


def _folder_of(options: argparse.Namespace) -> Path | None:
    """The folder of own runs: from the option, or beside a run given as a path."""
    if options.runs is not None:
        folder: Path = options.runs
        if not folder.is_dir():
            raise ConfigError("--runs", str(folder), "is not a folder", "give the folder that holds the runs")
        return folder
    paths = [Path(text) for text in options.run if _is_run_folder(text)]
    parents = {path.resolve().parent for path in paths} - {SHIPPED_RUNS.resolve()}
    if len(parents) > 1:
        names = ", ".join(sorted(map(str, parents)))
        raise ConfigError(
            "RUN", names, "lie in several folders", "copy them into one, or give ids and --runs"
        )
    return next(iter(parents), None)


def _refuse_unknown(ids: Sequence[str], view: str, runs: "Sequence[Run]") -> None:
    """Raise ConfigError for a run that the view does not have."""
    from explorer.figures.arms import arms_of

    one_run = view in RUN_KEY
    offered = (
        [run.run_id for run in runs if run.has_loads] if one_run else [arm.token for arm in arms_of(runs)]
    )
    for name in ids:
        if name not in offered:
            remedy = f"{choose_one(name, offered)}; python -m explorer runs lists all runs"
            raise ConfigError("RUN", name, "is not a run that this view can show", remedy)
    if ids and view in WITHOUT_RUNS:
        rule, remedy = f"the view {view} does not depend on runs", "leave them out, or use --view compare"
        raise ConfigError("RUN", " ".join(ids), rule, remedy)
    if one_run and len(ids) > 1:
        raise ConfigError("RUN", " ".join(ids), f"the view {view} shows one run", "give one")


def _query(options: argparse.Namespace, tokens: Sequence[str]) -> dict[str, list[str]]:
    query: dict[str, list[str]] = {}
    if tokens:
        one = RUN_KEY.get(options.view)
        if one:
            query[one] = [tokens[0]]
        query[SELECTED] = list(tokens)
    for text in options.settings:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise ConfigError(
                "--set", text, "must be key=value", "write a parameter of the page, e.g. layer=2"
            )
        query[key] = [value]
    return query


# --- Files ---


def _list(view: "OpenedView") -> int:
    for key in view.keys:
        print(f"{key:<44} {view.get(key).subject}")
    return 0


def _write_bundle(
    view: "OpenedView",
    options: argparse.Namespace,
    settings: "FigureSettings",
    tokens: Sequence[str],
    rows_of: "RunRows",
    converters: "Converters | None",
) -> Path:
    from explorer.export import files

    out: Path = options.out
    target = out if out.suffix == ".zip" else out / f"{_stem(view, tokens)}.zip"
    _refuse_existing([target], options.force)
    content = files.zipped(view, _selected(view, options), settings, rows_of, converters)
    return _save(target, content, options.force)


def _write(view: "OpenedView", options: argparse.Namespace, settings: "FigureSettings") -> list[Path]:
    keys = list(_selected(view, options))
    out: Path = options.out
    names = {key: f"{key}.{options.format}" for key in keys}
    single = len(keys) == 1 and out.suffix == f".{options.format}"
    if not single and out.is_file():
        raise ConfigError("--out", str(out), f"is a file, and there are {len(keys)} figures", "give a folder")
    targets = {key: out if single else out / name for key, name in names.items()}
    _refuse_existing(targets.values(), options.force)
    return [
        _save(target, _content(view, key, options.format, settings), options.force)
        for key, target in targets.items()
    ]


def _selected(view: "OpenedView", options: argparse.Namespace) -> Iterator[str]:
    """Keys of the panels to write, each as soon as its panel exists.

    Raises ConfigError if there are none, and at once for a name that the view lacks.
    """
    from explorer.figures.panel import Missing

    named = list(dict.fromkeys(options.figure or ()))
    names = list(view.films) if options.format == GIF else list(view.questions)
    for key in named:
        one_of("--figure", key, names)
        answer = view.answer(key)
        if isinstance(answer, Missing):
            raise ConfigError("--figure", key, f"cannot be drawn here ({answer.reason})", "choose another")
    keys = iter(named or (names if options.format == GIF else view.present_keys()))
    first = next(keys, None)
    if first is None:
        what = "animation" if options.format == GIF else "figure"
        remedy = "use --view replay" if options.format == GIF else "choose other runs, or another view"
        raise ConfigError("--view", options.view, f"has no {what} to export here", remedy)
    return chain([first], keys)


def _content(view: "OpenedView", key: str, kind: str, settings: "FigureSettings") -> bytes:
    from explorer.export import files
    from explorer.export.settings import TABLES

    if kind == GIF:
        return files.animation(view, key, settings)
    if kind in TABLES:
        return files.table(view, key, kind)
    return files.figure(view, key, kind, settings)


def _run_rows(index: "Index", run_ids: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of the table `runs` for run ids, in their order."""
    from explorer.queries.runs import list_runs

    with index.cursor() as cur:
        runs_by_id = {row["run_id"]: row for row in list_runs(cur).to_dicts()}
    return [runs_by_id[run_id] for run_id in run_ids if run_id in runs_by_id]


def _stem(view: "OpenedView", tokens: Sequence[str]) -> str:
    """File stem from the requested runs; a view may show more of them."""
    from explorer.export.provenance import file_stem

    return file_stem(view.view, run_ids=view.run_ids(tokens))


def _refuse_existing(paths: Any, force: bool) -> None:
    taken = [str(path) for path in paths if path.exists()]
    if taken and not force:
        raise ConfigError("--out", taken[0], "exists already", "choose another place, or add --force")


def _save(path: Path, content: bytes, force: bool) -> Path:
    _refuse_existing([path], force)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        raise ExplorerError(f"--out = {str(path)!r}: cannot be written ({error.strerror}).") from error
    return path
