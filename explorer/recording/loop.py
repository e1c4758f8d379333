"""The recorder for any training loop: three lines, and nothing in it stops or slows the loop.

    with Recorder("runs/", num_layers=24, num_experts=64, top_k=6) as rec:
        for step in range(num_steps):
            ...
            rec.log(step, tokens_per_expert=counts, expert_bias=bias, lm_loss=loss)

`log` copies its arguments on their own device and returns; a separate thread waits for the device, checks
the values and writes them. docs/recording.md has an example for each kind of loop.
"""

import atexit
import os
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, get_args

from explorer.errors import RunFolderError
from explorer.recording.info import read_info
from explorer.recording.loop_info import describe
from explorer.recording.loop_steps import LoggedStep, StepWriter
from explorer.recording.notices import Notices
from explorer.recording.opening import refuse_a_second_writer
from explorer.recording.rank_sums import RanksMode, RankSum, await_recorders, num_ranks, this_rank
from explorer.recording.run_writer import RunWriter
from explorer.recording.status import RunStatus, read_recorded_status
from explorer.recording.tensors import count_ids, own_copy, ready_events
from explorer.recording.terminal import DEFAULT_INTERVAL_S, Reporter, live_health
from explorer.recording.values import preview

MAX_QUEUED_CELLS = 4_000_000
"""Counts and biases that wait in memory together; together with `MAX_QUEUED_STEPS` the bound of the queue."""
MAX_QUEUED_STEPS = 1024
PATIENCE_S = 120.0
"""How long the end of training waits for a disk, or for other ranks."""
EXIT_PATIENCE_S = 10.0
"""The same where the program ends without `finish`: a crash of one rank must not be noticed late."""


class Recorder:
    """Writes one run folder from a training loop that is not ours.

    The constructor raises RunFolderError for sizes that make no sense or a folder that cannot be written:
    nothing has been trained by then. Nothing after it raises or blocks the loop; what cannot be recorded
    costs one sentence on standard error. Under torch.distributed make it on every rank and call `log` there
    for every step, since the counts of all ranks are added up.
    """

    def __init__(
        self,
        runs_dir: Path | str,
        *,
        num_layers: int,
        num_experts: int | Sequence[int],
        top_k: int,
        run_id: str | None = None,
        name: str = "",
        config: Mapping[str, Any] | Any = None,
        layer_numbers: Sequence[int] | None = None,
        layer_names: Sequence[str] | None = None,
        balancer: str = "",
        seed: int | None = None,
        num_steps: int = 0,
        tokens_per_step: int = 0,
        ranks: RanksMode = "sum",
        group: Any = None,
        report_every_s: float | None = DEFAULT_INTERVAL_S,
    ) -> None:
        """Make the run, or go on with it where `run_id` names a folder of `runs_dir`.

        num_layers: MoE layers. num_experts: routed experts of each, or one number per layer.
        layer_numbers: the model's own, ascending. config: a dictionary, Namespace or dataclass, shown with
        the run; what JSON cannot hold becomes text.
        balancer: the rule in the notation of docs/strategies.md, or any text. ranks: "sum" adds up the counts
        of all ranks, "keep" stores them apart as well, "off" takes rank 0's as those of the whole step.
        group: the process group whose ranks route different tokens. report_every_s: seconds between
        lines on standard error; None for none.
        """
        _check(ranks, report_every_s)
        runs = Path(runs_dir)
        self.info = describe(
            runs,
            num_layers=num_layers,
            num_experts=num_experts,
            top_k=top_k,
            run_id=run_id,
            name=name,
            config=config,
            layer_numbers=layer_numbers,
            layer_names=layer_names,
            balancer=balancer,
            seed=seed,
            num_steps=num_steps,
            tokens_per_step=tokens_per_step,
        )
        self._notices = Notices()
        self._process = os.getpid()
        self._started = time.monotonic()
        self._group, self._ranks_mode = group, ranks
        if ranks != "off":
            await_recorders(group, self._notices)
        self._begin(runs / self.info.run_id, report_every_s)

    def _begin(self, path: Path, report_every_s: float | None) -> None:
        self._layout = self.info.layout
        self.path = path
        self.num_lost = 0
        """Steps for which the queue had no room."""
        self._num_left = 0
        """Steps that still waited when `finish` gave up."""
        self._num_taken = self._num_handled = 0
        """Steps that entered the queue, and those that the thread is through with."""
        self._lost_since = 0
        self._events: list[tuple[str, str]] = []
        cells = max(1, 2 * sum(self._layout.widths))
        self._room = max(8, min(MAX_QUEUED_STEPS, MAX_QUEUED_CELLS // cells))
        self._queue: queue.SimpleQueue[LoggedStep | None] = queue.SimpleQueue()
        self._writer = self._open(report_every_s) if this_rank(self._group)[0] == 0 else None
        self._thread = threading.Thread(target=self._run, name=f"recorder-{path.name}", daemon=True)
        self._thread.start()
        self._closed = False
        atexit.register(self._finish_at_exit)

    @property
    def num_unwritten(self) -> int:
        """Steps that were given and are not in the folder: no room in the queue, a wrong step, a bad disk."""
        written_side = 0 if self._writer is None else self._writer.num_unwritten
        return self.num_lost + self._num_left + written_side

    def log(
        self,
        step: Any,
        *,
        tokens_per_expert: Any = None,
        selected_experts: Any = None,
        mask: Any = None,
        expert_bias: Any = None,
        dropped_tokens: Any = None,
        lm_loss: Any = None,
        aux_loss: Any = None,
        z_loss: Any = None,
        grad_norm: Any = None,
        learning_rate: Any = None,
        tokens_seen: Any = None,
    ) -> None:
        """Record one optimizer step; every argument may be missing at some steps.

        tokens_per_expert: assignments [L, E] of the whole step (of this rank), or a list of one
        array per layer. selected_experts: instead of them the chosen experts, per layer [..., K]; then `mask`
        leaves out tokens where it is 0 (padding), one element per token. expert_bias: [L, E], the bias used
        in this step, before its update. dropped_tokens: [L, E]. tokens_seen: of the whole run; without it the
        counts are added up. Scalars may be 0-d tensors.
        """
        if os.getpid() != self._process or self._closed:
            why = "it was finished" if self._closed else f"it belongs to process {self._process}"
            self._notices.once("closed", f"log({step}) after the end of {self.info.run_id}: {why}.")
            return
        item = LoggedStep(step=step, seconds=time.monotonic() - self._started)
        try:
            item.counts = own_copy(tokens_per_expert)
            if selected_experts is not None and tokens_per_expert is None:
                item.counts, item.num_out_of_range = self._counted(selected_experts, mask)
        except Exception as error:
            name = "tokens_per_expert" if selected_experts is None else "selected_experts"
            self._notices.once(name, f"{name} of step {step} {error}; the counts of the step are left out.")
        scalars = {"lm_loss": lm_loss, "aux_loss": aux_loss, "z_loss": z_loss, "grad_norm": grad_norm}
        scalars |= {"learning_rate": learning_rate, "tokens_seen": tokens_seen}
        for field, value in {"bias": expert_bias, "dropped": dropped_tokens, **scalars}.items():
            if value is not None:
                self._take(item, field, value)
        try:
            self._exchange(item)
            self._put(item)
        except Exception as error:
            self._notices.once("log", f"step {step} is not recorded ({type(error).__name__}: {error}).")

    def event(self, kind: str, detail: str = "") -> None:
        """Mark the step that is logged next, e.g. event("checkpoint loaded", path)."""
        self._events.append((str(kind), str(detail)))

    def finish(self, state: str = "finished", message: str = "") -> None:
        """Write what is left. state: finished, stopped, interrupted or failed. Never raises."""
        self._end(state, message, PATIENCE_S)

    def _finish_at_exit(self) -> None:
        self._end("interrupted", "the program ended without finish()", EXIT_PATIENCE_S)

    def _end(self, state: str, message: str, patience_s: float) -> None:
        if self._closed or os.getpid() != self._process:
            return
        self._closed = True
        atexit.unregister(self._finish_at_exit)
        try:
            self._queue.put(None)
            self._thread.join(patience_s)
            if self._thread.is_alive():
                self._say_unfinished(patience_s)
                return
            if self._writer is None:
                return
            self._writer.finish(state, message)
        except Exception as error:
            self._notices.line(
                f"{self.info.run_id} could not be finished ({type(error).__name__}: {error}). "
                f"{self.num_unwritten} steps are not in the folder."
            )
        if self.num_lost:
            self._notices.line(
                f"{self.num_lost} steps came faster than they could be written and are not in the folder."
            )

    def _say_unfinished(self, patience_s: float) -> None:
        """The thread still waits: its steps will not be written."""
        self._num_left = self._num_taken - self._num_handled
        cause = "a disk" if this_rank(self._group)[1] == 1 else "a rank that does not call log for every step"
        self._notices.line(
            f"{self.info.run_id}: gave up after {patience_s:.0f} s waiting for {cause}; the last "
            f"{self._num_left} steps are not in the folder, and the run is not marked as finished."
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.finish()
            return
        text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        self.finish("failed" if isinstance(error, Exception) else "interrupted", text)

    def _open(self, report_every_s: float | None) -> StepWriter:
        """The writer of a new run, or of the folder that `run_id` names. Raises RunFolderError."""
        recorder = None
        if self.path.exists():
            before = read_info(self.path)
            if before.layout != self._layout:
                raise RunFolderError(
                    f"{self.path} has other layers, experts or top_k than this recorder; give the sizes "
                    "of the run to resume, or another run_id."
                )
            refuse_a_second_writer(self.path, read_recorded_status(self.path) or RunStatus())
            self.info = before
        else:
            recorder = RunWriter.create(self.path.parent, self.info)
        health = None if report_every_s is None else live_health(self.info)
        reporter = Reporter(self._layout, self._notices, report_every_s, health=health)
        path = self.path
        return StepWriter(
            lambda step: RunWriter.resume(path, step), self.info, self._notices, reporter, recorder
        )

    def _counted(self, selected: Any, mask: Any) -> tuple[list[Any], Any]:
        """Counts of each layer, and how many ids lie beyond the last expert."""
        widths = self._layout.widths
        if len(selected) != len(widths):
            raise RunFolderError(f"must have one array per MoE layer ({len(widths)}), not {len(selected)}")
        bins = [count_ids(ids, width, mask) for ids, width in zip(selected, widths, strict=True)]
        return [b[:-1] for b in bins], sum(b[-1] for b in bins)

    def _take(self, item: LoggedStep, field: str, value: Any) -> None:
        try:
            copy = own_copy(value)
        except Exception as error:
            self._notices.once(field, f"{field} of step {item.step} is left out ({error}).")
            return
        if field in ("bias", "dropped"):
            setattr(item, field, copy)
        else:
            item.scalars[field] = copy

    def _exchange(self, item: LoggedStep) -> None:
        if self._ranks_mode != "off" and num_ranks(self._group) > 1:
            values = {
                "counts": item.counts,
                "num_out_of_range": item.num_out_of_range,
                "dropped": item.dropped,
                "lm_loss": item.scalars.get("lm_loss"),
            }
            item.rank_sum = RankSum(values, self._layout, keep=self._ranks_mode == "keep", group=self._group)
            if item.rank_sum.problem:
                self._notices.once("rank", f"step {item.step}, on this rank: {item.rank_sum.problem}.")
        item.ready = ready_events([item.counts, item.num_out_of_range, item.bias, item.dropped])

    def _put(self, item: LoggedStep) -> None:
        if self._queue.qsize() >= self._room:
            self.num_lost += 1
            self._lost_since += 1
            return
        item.num_lost_before, item.events = self._lost_since, self._events
        self._lost_since, self._events = 0, []
        self._num_taken += 1
        self._queue.put(item)

    def _run(self) -> None:
        """The recorder's thread: everything that may wait."""
        while (item := self._queue.get()) is not None:
            try:
                if self._writer is not None:
                    self._writer.write(item)
                elif item.rank_sum is not None:
                    item.rank_sum.result()
            except Exception as error:
                if self._writer is not None:
                    self._writer.num_unwritten += 1
                self._notices.once(
                    type(error).__name__,
                    f"step {item.step} is not recorded ({type(error).__name__}: {error}).",
                )
            self._num_handled += 1


def _check(ranks: Any, report_every_s: Any) -> None:
    """Raise RunFolderError for settings that would be noticed only while training."""
    modes = get_args(RanksMode)
    if ranks not in modes:
        raise RunFolderError(f"ranks = {preview(ranks)}: must be one of {', '.join(modes)}; choose one.")
    is_number = isinstance(report_every_s, int | float) and report_every_s >= 0
    if report_every_s is not None and not is_number:
        raise RunFolderError(
            f"report_every_s = {preview(report_every_s)}: must be a number of seconds, or None for silence."
        )
