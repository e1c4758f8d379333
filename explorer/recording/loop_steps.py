"""One logged step -> records of a run folder: the side of the `Recorder` that runs in its own thread.

A value that breaks a rule costs its own field only, and a sentence. A step that lies before the newest one
(a loop that went back to a checkpoint) begins a new attempt of the run.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from explorer.errors import ExplorerError, RunFolderError
from explorer.recording.checks import checked
from explorer.recording.files import atomic_write_json
from explorer.recording.folder_schema import LARGEST_STEP
from explorer.recording.info import INT64, RUN_FILE, RunInfo
from explorer.recording.notices import Notices
from explorer.recording.rank_sums import RankSum
from explorer.recording.reader import RunFolder
from explorer.recording.run_writer import MAX_PENDING_CELLS, RunWriter
from explorer.recording.terminal import Reporter
from explorer.recording.values import Refused, preview, to_float, to_whole
from explorer.recording.writer import SupersededError
from explorer.records.records import EventRecord, LoadRecord, RankLoadRecord, StepRecord

NAMES = {
    "LoadRecord.tokens_LE": "tokens_per_expert",
    "LoadRecord.expert_bias_LE": "expert_bias",
    "LoadRecord.dropped_tokens_LE": "dropped_tokens",
    "; correct what is recorded.": "",
}
"""What a record's sentence calls a field -> what `Recorder.log` calls it."""


@dataclass(kw_only=True)
class LoggedStep:
    """What one call of `log` handed over: copies, perhaps still on a device."""

    step: Any
    seconds: float
    """Since the recorder was made."""
    counts: Any = None
    num_out_of_range: Any = None
    """Assignments to ids beyond the last expert, where the counts were taken from ids."""
    bias: Any = None
    dropped: Any = None
    scalars: dict[str, Any] = field(default_factory=dict)
    events: list[tuple[str, str]] = field(default_factory=list)
    num_lost_before: int = 0
    """Steps before this one for which the queue had no room."""
    ready: list[Any] = field(default_factory=list)
    rank_sum: RankSum | None = None


class StepWriter:
    """Writes logged steps in order. Used by one thread. `write` raises nothing that a value can cause."""

    def __init__(
        self,
        folder: Callable[[int], RunWriter],
        info: RunInfo,
        notices: Notices,
        reporter: Reporter,
        recorder: RunWriter | None,
    ) -> None:
        """folder: resumes the run at a step. recorder: of a new run; None: the first step resumes."""
        self._resume_at, self._info, self._notices, self._reporter = folder, info, notices, reporter
        self._layout = info.layout
        self._recorder = recorder
        self._newest = -1
        self._tokens_seen = 0
        self._seconds_before = 0.0
        self._counted_tokens = 0
        """Tokens of the first step with counts: what a step has where the loop does not state it."""
        self._first_seen: tuple[int, int] | None = None
        """First step with a stated `tokens_seen`, and its value."""
        self.num_unwritten = 0
        """Steps that were skipped here: a wrong step, or a disk that refuses."""
        self._is_superseded = False

    def write(self, item: LoggedStep) -> None:
        """Record one step. Raises only unforeseen errors."""
        for event in item.ready:
            event.synchronize()
        if item.rank_sum is not None:
            self._take_totals(item, item.rank_sum)
        try:
            step = to_whole(item.step, LARGEST_STEP)
        except Refused as error:
            self._skip("step", f"step = {preview(item.step)}: {error}; the step is not recorded.")
            return
        recorder = self._recorder_for(step)
        if recorder is None:
            return
        loads, copy, num_tokens = self._loads(step, item)
        written = self._write_records(recorder, step, item, loads, num_tokens)
        if copy is not None:
            self._reporter.add(step, copy, written)
        self._newest = step
        try:
            recorder.step_done(step)
        except SupersededError as error:
            self._is_superseded = True
            self._notices.once("superseded", str(error))
        except ExplorerError as error:
            self._notices.once("disk", f"{error} The steps are kept in memory and tried again.")

    def finish(self, state: str, message: str) -> None:
        """Write what is left and say how the run ended. Raises ExplorerError when the disk refuses."""
        if self._recorder is None or self._is_superseded:
            return
        recorder = self._recorder
        try:
            recorder.finish(state, message)
        except ExplorerError:  # perhaps of the write before; its steps are in memory and get another try
            try:
                recorder.finish(state, message)
            except ExplorerError as error:
                self.num_unwritten += recorder.num_pending_steps
                recorder.end_as("failed", str(error))
                raise
        info = self._info
        complete = replace(
            info,
            num_steps=max(info.num_steps, self._newest + 1),
            tokens_per_step=info.tokens_per_step or self._stated_tokens_per_step() or self._counted_tokens,
        )
        if complete != info:
            atomic_write_json(recorder.path / RUN_FILE, complete.to_dict())

    def _stated_tokens_per_step(self) -> int:
        """By what the stated `tokens_seen` grew; 0 where that is not known."""
        step, seen = self._first_seen or (self._newest, 0)
        return max(0, self._tokens_seen - seen) // (self._newest - step) if self._newest > step else 0

    def _recorder_for(self, step: int) -> RunWriter | None:
        """The attempt that `step` belongs to; None where it cannot be recorded."""
        if self._is_superseded:
            self.num_unwritten += 1
            return None
        if self._recorder is None:
            self._recorder = self._resumed(step)
        elif step == self._newest:
            self._skip(
                "twice", f"step {step} was logged already; log every step once. Only the first counts."
            )
            return None
        elif step < self._newest:
            self._notices.line(
                f"step {step} comes after step {self._newest}: taken as a restart from a checkpoint, which "
                f"supersedes the recorded steps from {step} on. If the counter restarts with every epoch, "
                "log a step that does not."
            )
            self._recorder.finish("stopped", compact=False)
            self._recorder = self._resumed(step)
        elif self._recorder.pending_cells >= MAX_PENDING_CELLS and not self._could_flush():
            self._skip(
                "memory", "the disk keeps refusing and memory is bounded: steps are lost from here on."
            )
            return None
        return self._recorder

    def _resumed(self, step: int) -> RunWriter:
        recorder = self._resume_at(step)
        columns = ["step", "tokens_seen", "wall_time_s"]
        before = RunFolder(recorder.path).read("steps", columns).sort("step").tail(1)
        for _, tokens_seen, seconds in before.iter_rows():
            self._tokens_seen, self._seconds_before = int(tokens_seen or 0), float(seconds or 0.0)
        return recorder

    def _could_flush(self) -> bool:
        assert self._recorder is not None
        try:
            self._recorder.flush()
        except ExplorerError:
            return False
        return True

    def _take_totals(self, item: LoggedStep, rank_sum: RankSum) -> None:
        totals = rank_sum.result()
        if item.counts is not None and totals.counts is None:
            self._notices.once(
                "ranks",
                f"step {preview(item.step)}: {totals.num_without} ranks gave no usable tokens_per_expert, so "
                "the counts of the step are left out.",
            )
        item.counts, item.dropped, item.num_out_of_range = totals.counts, totals.dropped, None
        item.scalars["by_rank"] = totals.by_rank
        if totals.lm_loss is not None:
            item.scalars["lm_loss"] = totals.lm_loss

    def _loads(self, step: int, item: LoggedStep) -> tuple[LoadRecord | None, LoadRecord | None, int]:
        """The loads of a step, without the fields that break a rule; the same, checked; and its tokens."""
        if item.counts is None:
            if item.bias is not None:
                self._notices.once("bias alone", "expert_bias is kept only beside tokens_per_expert.")
            return None, None, 0
        excess = 0 if item.num_out_of_range is None else int(item.num_out_of_range)
        if excess:
            self._notices.once(
                "ids",
                f"step {step}: selected_experts has {excess} ids beyond the last expert; the counts of the "
                "step are left out.",
            )
            return None, None, 0
        values = {"expert_bias_LE": item.bias, "dropped_tokens_LE": item.dropped}
        present = {name: value for name, value in values.items() if value is not None}
        while True:
            record = LoadRecord(step=step, tokens_LE=item.counts, **present)
            try:
                copy = checked(record, self._layout)
            except RunFolderError as error:
                self._say_left_out(str(error))
                wrong = next((name for name in present if f".{name} " in str(error)), None)
                if wrong is None:
                    return None, None, 0
                del present[wrong]
                continue
            dropped = 0 if copy.dropped_tokens_LE is None else int(copy.dropped_tokens_LE.sum())
            assignments = int(copy.tokens_LE.sum()) + dropped
            return record, copy, round(assignments / max(1, self._layout.num_layers * self._layout.top_k))

    def _write_records(
        self,
        recorder: RunWriter,
        step: int,
        item: LoggedStep,
        loads: LoadRecord | None,
        num_tokens: int,
    ) -> StepRecord:
        scalars = {name: self._float(step, name, value) for name, value in item.scalars.items()}
        scalars.pop("by_rank", None)
        seen = scalars.pop("tokens_seen", None)
        self._tokens_seen = self._tokens_seen + num_tokens if seen is None else int(seen)
        if seen is not None:
            self._first_seen = self._first_seen or (step, int(seen))
        self._counted_tokens = self._counted_tokens or num_tokens
        seconds = self._seconds_before + item.seconds
        written = StepRecord(
            step=step,
            tokens_seen=self._tokens_seen,
            lm_loss=scalars.pop("lm_loss", None),
            wall_time_s=seconds,
            **scalars,
        )
        recorder.record(written)
        if loads is not None:
            recorder.record(loads)
        if (by_rank := item.scalars.get("by_rank")) is not None:
            recorder.record(RankLoadRecord(step=step, tokens_RLE=by_rank))
        if item.num_lost_before:
            detail = f"{item.num_lost_before} steps before this one came faster than they could be written"
            item.events.append(("recording_gap", detail))
        for kind, detail in item.events:
            recorder.record(EventRecord(step=step, kind=kind, detail=detail))
        return written

    def _float(self, step: int, name: str, value: Any) -> float | None:
        """The value as a number; None after a notice if it is not one."""
        if value is None or name == "by_rank":
            return None
        try:
            if name == "tokens_seen":
                return to_whole(value, INT64)
            number = to_float(value)
        except Refused as error:
            self._notices.once(name, f"{name} of step {step} = {preview(value)}: {error}; it is left out.")
            return None
        if name == "lm_loss" and not math.isfinite(number):
            self._reporter.loss_not_finite(step, number)
        return number

    def _say_left_out(self, sentence: str) -> None:
        for name, ours in NAMES.items():
            sentence = sentence.replace(name, ours)
        self._notices.once(
            sentence.split(" ")[0], f"{sentence}; it is left out of this step and of others like it."
        )

    def _skip(self, kind: str, sentence: str) -> None:
        self.num_unwritten += 1
        self._notices.once(kind, sentence)
