"""Provenance of figures: the view, its runs, the versions, and the SQL of every figure."""

import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from explorer import __version__
from explorer.figures.panel import Panel, slug
from explorer.queries.statements import Statement

PACKAGES = ("altair", "vl-convert-python", "polars", "duckdb", "streamlit")
RUN_FIELDS = (
    "run_id",
    "name",
    "seed",
    "balancer",
    "balancer_label",
    "count_scope",
    "state",
    "last_step",
    "preset",
    "config_digest",
    "pair_key",
    "corpus_digest",
    "device",
    "created_at",
    "source",
)
"""Columns of the table `runs` that a manifest names."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Provenance of a bundle."""

    view: str
    """Name of the page: compare."""
    title: str
    permalink: str
    """Path and query below the app's address."""
    runs: tuple[Mapping[str, Any], ...] = ()
    """Rows of the table `runs`."""
    created_at: str = field(
        default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    )

    @property
    def stem(self) -> str:
        """File name stem, e.g. `compare-none-seed0-loss-free-seed0`."""
        return file_stem(self.view, run_ids=[str(run["run_id"]) for run in self.runs])


def file_stem(*parts: str, run_ids: Sequence[str] = ()) -> str:
    """A safe file name without extension; many runs are counted instead of named."""
    runs = [*run_ids] if sum(map(len, run_ids)) <= 80 else [f"{len(run_ids)} runs"]
    return "-".join(text for text in map(slug, (*parts, *runs)) if text)[:150].rstrip("-") or "figure"


def run_ids(panels: Iterable[Panel]) -> list[str]:
    """Runs queried by the statements of these figures, in order."""
    ids: dict[str, None] = {}
    for panel in panels:
        for statement in panel.statements:
            value = statement.params.get("run_id")
            values = [value] if value is not None else statement.params.get("run_ids") or []
            ids.update(dict.fromkeys(str(one) for one in values if one))
    return list(ids)


def versions() -> dict[str, str]:
    """Versions of all software involved in the drawing."""
    result = {"explorer": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            result[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return result


def run_entry(row: Mapping[str, Any]) -> dict[str, Any]:
    """A run's manifest entry, including its versions and configuration."""
    entry = {name: row.get(name) for name in RUN_FIELDS}
    for name in ("versions", "config"):
        entry[name] = _parsed(row.get(name))
    return entry


def _parsed(text: Any) -> Any:
    try:
        return json.loads(text) if isinstance(text, str) else text
    except ValueError:
        return text


def statement_entry(statement: Statement) -> dict[str, Any]:
    return {"sql": tidy_sql(statement.sql), "params": dict(statement.params)}


def tidy_sql(sql: str) -> str:
    """The SQL without the indentation of its source code."""
    lines = [line.rstrip() for line in sql.strip("\n").splitlines()]
    filled = [line for line in lines if line.strip()]
    # The first line may be indented differently from the others.
    whole = filled if filled and filled[0][0] == " " else filled[1:]
    least = min((len(line) - len(line.lstrip()) for line in whole), default=0)
    return "\n".join(line[least:] if not line[:least].strip() else line.lstrip() for line in filled).strip()


def by_sql(panel: Panel) -> list[tuple[str, list[str]]]:
    """Each distinct statement with the parameters of every execution, one line of JSON each."""
    parameters_by_sql: dict[str, list[str]] = {}
    for statement in panel.statements:
        params = json.dumps(dict(statement.params), ensure_ascii=False, default=str)
        parameters_by_sql.setdefault(tidy_sql(statement.sql), []).append(params)
    return list(parameters_by_sql.items())


def sql_text(panel: Panel) -> str:
    """The statements of a figure for DuckDB; `$name` parameters, executed once per line of parameters."""
    parts = [f"-- {panel.subject}\n-- Asked of the index of the runs; $names are parameters."]
    for number, (sql, params) in enumerate(by_sql(panel), 1):
        lines = "\n".join(f"--   {one}" for one in params)
        parts.append(f"-- {number}. with\n{lines}\n{sql};")
    return "\n\n".join(parts) + "\n"
