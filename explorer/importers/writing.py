"""Write a foreign run to a run folder, with its report beside the tables."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from explorer.errors import ForeignFileError
from explorer.importers.kept_routes import KeptRoutes
from explorer.importers.load_checks import checked_steps
from explorer.importers.options import Options
from explorer.importers.shifts import compared_steps
from explorer.importers.trace import UNKNOWN_PHASE, ForeignRun, Format, LoadStep
from explorer.recording import RunInfo, atomic_write_json, make_run_id
from explorer.recording.info import REPLICAS, RUN_FILE
from explorer.recording.run_writer import RunWriter
from explorer.records import LoadRecord, StepRecord
from explorer.records.records import ProbeRecord

REPORT_FILE = "import_report"
"""`import_report.json` of a run folder: {"format", "file", "entries"}."""
PROBE_FILE = "probe"
LONGEST_STEM = 50
MOST_COMPACTED = 2_000_000
"""Maximum number of rows to sort into one file, which doubles the duration of an import."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Origin of a run: format, file and options of the import."""

    form: Format
    file_name: str
    num_bytes: int
    options: Options


def write_run(folder: Path, run: ForeignRun, origin: Origin) -> tuple[str, list[dict[str, Any]]]:
    """Write one run below `folder`; returns its id and its report. Raises ExplorerError."""
    _report_labels(run, origin.options)
    info = _info(run, origin)
    recorder = RunWriter.create(folder, info)
    recorder.flushes_by_time = False
    try:
        written = _record(recorder, run, info, origin.options)
        entries = run.report.to_list()
        report = {"format": origin.form.name, "file": origin.file_name, "entries": entries}
        recorder.save_json(REPORT_FILE, report)
        recorder.finish("finished", compact=written.num_cells <= MOST_COMPACTED)
    except BaseException:
        recorder.abandon()
        raise
    complete = replace(info, num_steps=written.num_steps, tokens_per_step=written.tokens_per_step)
    atomic_write_json(folder / info.run_id / RUN_FILE, complete.to_dict())
    return info.run_id, entries


@dataclass(frozen=True)
class _Written:
    num_steps: int
    tokens_per_step: int
    num_cells: int


def _record(recorder: RunWriter, run: ForeignRun, info: RunInfo, options: Options) -> _Written:
    seen = num_steps = tokens_per_step = 0
    before = -1
    for step in _checked(run, options):
        if step.step <= before:
            raise ForeignFileError(
                f"step {step.step} comes after step {before}: steps must ascend; sort the file by step."
            )
        before = step.step
        tokens = _tokens(step, info.top_k)
        seen += tokens
        num_steps += 1
        tokens_per_step = tokens_per_step or tokens
        scalars = {"lm_loss": None, **step.scalars}
        recorder.record(StepRecord(step=step.step, tokens_seen=seen, **scalars))
        if run.layers:
            recorder.record(
                LoadRecord(
                    step=step.step,
                    tokens_LE=step.tokens_LE,
                    expert_bias_LE=step.expert_bias_LE,
                    dropped_tokens_LE=step.dropped_tokens_LE,
                )
            )
        if step.routes is not None:
            _keep(recorder, step.step, step.routes)
        recorder.step_done(step.step)
    if num_steps == 0:
        raise ForeignFileError("not a single step holds loads; check the file.")
    return _Written(num_steps, tokens_per_step, num_steps * sum(info.layer_widths))


def _keep(recorder: RunWriter, step: int, routes: KeptRoutes) -> None:
    """Routes per token take the form of a probe, with the document that identifies the tokens."""
    recorder.record(
        ProbeRecord(step=step, router_logits_PLE=routes.logits_PLE, selected_experts_PLK=routes.ids_PLK)
    )
    recorder.save_json(PROBE_FILE, dict(routes.document))


def _checked(run: ForeignRun, options: Options) -> Iterator[LoadStep]:
    if not run.layers or run.unit == REPLICAS:  # replicas are no loads: no MaxVio, no idle expert
        return iter(run.steps)
    steps = run.steps
    if options.text("reference"):
        steps = compared_steps(steps, run.layers, Path(options.text("reference")), run.report)
    return checked_steps(steps, run.layers, run.report, are_counts=not run.unit.startswith("shares"))


def _tokens(step: LoadStep, top_k: int) -> int:
    """Tokens of a step, by default from the mean of the layers' totals."""
    if step.num_tokens is not None:
        return step.num_tokens
    dropped = 0 if step.dropped_tokens_LE is None else int(step.dropped_tokens_LE.sum())
    return round((int(step.tokens_LE.sum()) + dropped) / (len(step.tokens_LE) * top_k))


def _info(run: ForeignRun, origin: Origin) -> RunInfo:
    options, form = origin.options, origin.form
    labels = _labels(run, options)
    stem = re.sub(r"(\.(jsonl?|csv|txt|xz|gz|bz2|parquet|npy|pt|pkl|md))+$", "", origin.file_name)
    title = options.text("name") or f"{stem} {run.part}".strip()
    details = {"format": form.name, "file": origin.file_name, "num_bytes": origin.num_bytes}
    details |= {"options": dict(options.values), **labels, **run.details}
    return RunInfo(
        run_id=_run_id(stem, run.part, options),
        name=title,
        source=f"imported:{form.name}",
        num_moe_layers=len(run.layers),
        num_experts=run.num_experts,
        top_k=(run.top_k or 1) if run.layers else 0,
        tokens_per_step=0,
        num_steps=0,
        layers=None if run.layers == tuple(range(len(run.layers))) else run.layers,
        balancer=options.text("balancer"),
        config={"import": details},
        corpus={},
        unit=labels["unit"],
        scope=labels["scope"],
        phase=labels["phase"],
    )


def _labels(run: ForeignRun, options: Options) -> dict[str, str]:
    labels = {"phase": run.phase, "scope": run.scope, "unit": run.unit}
    return {name: options.text(name, value) for name, value in labels.items()}


def _run_id(stem: str, part: str, options: Options) -> str:
    run_id = options.text("run_id")
    if run_id:
        return f"{run_id}-{part}" if part else run_id
    slug = re.sub(r"[^A-Za-z0-9._]+", "-", stem).strip("-._")[:LONGEST_STEM].strip("-._") or "file"
    default_id = make_run_id(preset="imported", family=f"{slug}-{part}" if part else slug)
    # The time of the import is irrelevant to the run; six random letters make the id unique.
    return re.sub(r"-\d{8}-\d{6}-", "-", default_id)


def _report_labels(run: ForeignRun, options: Options) -> None:
    """Report assumptions about the run as a whole; a placement says nothing that rests on them."""
    if run.unit == REPLICAS:
        return
    if run.top_k is None:
        run.report.assumption(
            "top_k",
            "The file does not say how many experts a token takes (K). Each assignment is counted as one "
            "token (K = 1); give it with --option top_k=8.",
        )
    if run.phase == UNKNOWN_PHASE and "phase" not in options.values:
        run.report.assumption(
            "phase",
            "The file does not say whether these are loads of training, prefill or decode; give it with "
            "--option phase=decode.",
        )
    if not options.text("balancer"):
        run.report.assumption(
            "balancer",
            "The file does not say how the router is balanced; if it is known, give it with --option "
            "balancer=loss_free:u=0.001.",
        )
