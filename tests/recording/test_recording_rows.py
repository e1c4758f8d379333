"""Whatever is recorded, flushed, merged, resumed, killed and compacted: what counts is read back."""

import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.errors import RunFolderError
from explorer.recording import RunFolder, RunInfo, run_writer
from explorer.recording import writer as writer_module
from explorer.recording.run_writer import RunWriter
from explorer.records.records import (
    EvalLoadRecord,
    EvalRecord,
    EventRecord,
    LayerRecord,
    LoadRecord,
    ProbeRecord,
    Record,
    SequenceLoadRecord,
    StepRecord,
)
from explorer.records.tables import TABLES

KINDS = ("steps", "loads", "layers", "sequences", "evals", "eval_loads", "probe", "events")
Row = dict[str, Any]


@pytest.fixture(autouse=True, scope="module")
def _few_parts_and_no_clock() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_writer, "FLUSH_INTERVAL_S", float("inf"))
        patch.setattr(writer_module, "MAX_PARTS", 2)
        yield


@dataclass
class Maker:
    """Random records, and independently of the recorder the rows that they stand for."""

    seed: int
    layers: int
    experts: int
    top_k: int
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def counts(self, *shape: int) -> Any:
        """Also beyond what a double holds; the counts of a layer's experts add up to an int64."""
        return self.rng.integers(0, 2**63 // (self.experts + 1), shape)

    def floats(self, *shape: int) -> Any:
        """float32 values, or None: NULL for the whole array."""
        if self.rng.random() < 0.3:
            return None
        return self.rng.normal(size=shape).astype(np.float32)

    def number(self) -> float | None:
        return None if self.rng.random() < 0.3 else float(self.rng.normal())

    def make(self, kind: str, step: int) -> Record:
        grid = (self.layers, self.experts)
        if kind == "steps":
            return StepRecord(
                step=step,
                tokens_seen=int(self.counts()),
                lm_loss=math.inf if self.rng.random() < 0.2 else float(self.rng.normal()),
                **{name: self.number() for name in ("aux_loss", "grad_norm", "wall_time_s")},
            )
        if kind == "loads":
            return LoadRecord(
                step=step,
                tokens_LE=self.counts(*grid),
                expert_bias_LE=self.floats(*grid),
                mean_score_LE=self.floats(*grid),
                dropped_tokens_LE=self.counts(*grid) if self.rng.random() < 0.5 else None,
            )
        if kind == "layers":
            return LayerRecord(
                step=step,
                aux_loss_L=self.floats(self.layers),
                switched_slots_L=self.counts(self.layers) if self.rng.random() < 0.5 else None,
                router_grad_cosine_L=self.floats(self.layers),
            )
        if kind == "sequences":
            size = int(self.rng.integers(1, 4))
            return SequenceLoadRecord(
                step=step,
                split="train",
                micro_batch=int(self.rng.integers(0, 9)),
                domains_B=[f"d{self.rng.integers(3)}" for _ in range(size)],
                tokens_BLE=self.counts(size, *grid),
            )
        if kind == "evals":
            numbers = {"num_tokens": int(self.counts()), "num_bytes": int(self.counts())}
            return EvalRecord(step=step, split="held_out", domain="d", lm_loss=0.5, **numbers)
        if kind == "eval_loads":
            tokens, bias = self.counts(*grid), self.floats(*grid)
            return EvalLoadRecord(
                step=step, split="held_out", domain="ü", tokens_LE=tokens, expert_bias_LE=bias
            )
        if kind == "probe":
            size = int(self.rng.integers(1, 4))
            return ProbeRecord(
                step=step,
                router_logits_PLE=self.rng.normal(size=(size, *grid)).astype(np.float32),
                selected_experts_PLK=self.rng.integers(0, self.experts, (size, self.layers, self.top_k)),
                expert_bias_LE=self.floats(*grid),
            )
        layer = None if self.rng.random() < 0.5 else 0
        return EventRecord(step=step, kind="balancer_changed", detail="to 'none'", layer=layer)


def at(array: Any, *index: int) -> Any:
    """One cell as a Python value; NULL without an array."""
    return None if array is None else array[index].tolist()


def rows_of(record: Record) -> tuple[str, list[Row]]:
    """(table, rows) cell by cell."""
    if isinstance(record, StepRecord):
        return "steps", [dict(vars(record))]
    if isinstance(record, EvalRecord):
        return "evals", [dict(vars(record))]
    if isinstance(record, EventRecord):
        return "events", [dict(vars(record))]
    if isinstance(record, LoadRecord):
        return "expert_loads", [
            {
                "step": record.step,
                "layer": layer,
                "expert": expert,
                "tokens": at(record.tokens_LE, layer, expert),
                "dropped_tokens": at(record.dropped_tokens_LE, layer, expert) or 0,
                "expert_bias": at(record.expert_bias_LE, layer, expert),
                "mean_score": at(record.mean_score_LE, layer, expert),
                "mean_normalised_score": at(record.mean_normalised_score_LE, layer, expert),
            }
            for layer, expert in np.ndindex(*record.tokens_LE.shape)
        ]
    if isinstance(record, LayerRecord):
        names = [c.name for c in TABLES["layer_steps"] if not c.key]
        return "layer_steps", [
            {"step": record.step, "layer": layer} | {n: at(getattr(record, f"{n}_L"), layer) for n in names}
            for layer in range(LAYERS)
        ]
    if isinstance(record, SequenceLoadRecord):
        return "sequence_loads", [
            {
                "step": record.step,
                "split": record.split,
                "micro_batch": record.micro_batch,
                "sequence": sequence,
                "layer": layer,
                "expert": expert,
                "domain": record.domains_B[sequence],
                "tokens": at(record.tokens_BLE, sequence, layer, expert),
            }
            for sequence, layer, expert in np.ndindex(*record.tokens_BLE.shape)
        ]
    if isinstance(record, EvalLoadRecord):
        return "eval_loads", [
            {
                "step": record.step,
                "split": record.split,
                "domain": record.domain,
                "layer": layer,
                "expert": expert,
                "tokens": at(record.tokens_LE, layer, expert),
                "expert_bias": at(record.expert_bias_LE, layer, expert),
            }
            for layer, expert in np.ndindex(*record.tokens_LE.shape)
        ]
    return "probe_scores", [
        {
            "step": record.step,
            "token": token,
            "layer": layer,
            "router_logits": at(record.router_logits_PLE, token, layer),
            "selected_experts": at(record.selected_experts_PLK, token, layer),
            "expert_bias": at(record.expert_bias_LE, layer),
        }
        for token, layer in np.ndindex(*record.router_logits_PLE.shape[:2])
    ]


LAYERS = 2
actions = st.lists(
    st.one_of(
        st.lists(st.sampled_from(KINDS), max_size=5),  # a step with these records
        st.lists(st.sampled_from(KINDS), max_size=5),
        st.just("flush"),
        st.just("kill"),
        st.just("finish"),
    ),
    min_size=1,
    max_size=14,
)


def check(path: Path, expected: dict[str, list[Row]]) -> None:
    run = RunFolder(path)
    for table, columns in TABLES.items():
        names = [c.name for c in columns]
        frame = run.read(table)
        assert frame.columns == names
        want = [tuple(({"run_id": "run"} | row).get(n) for n in names) for row in expected[table]]
        assert sorted(frame.rows(), key=repr) == sorted(want, key=repr), table


@given(
    actions=actions,
    seed=st.integers(0, 2**32),
    experts=st.integers(1, 3),
    back=st.lists(st.integers(0, 4), min_size=14, max_size=14),
)
def test_what_counts_is_read_back(actions: list[Any], seed: int, experts: int, back: list[int]) -> None:
    sizes = {"num_moe_layers": LAYERS, "num_experts": experts, "top_k": 1}
    info = RunInfo(run_id="run", name="", tokens_per_step=1, num_steps=1, **sizes)
    maker = Maker(seed, LAYERS, experts, 1)
    kept: dict[str, list[Row]] = {table: [] for table in TABLES}
    pending: list[tuple[str, Row]] = []
    step, flushed = 0, 0
    with tempfile.TemporaryDirectory() as folder:
        recorder = RunWriter.create(folder, info)
        for action, steps_back in zip(actions, back, strict=False):
            if isinstance(action, list):
                given: set[tuple[str, int, int | None]] = set()
                for kind in action:
                    record = maker.make(kind, step)
                    table, rows = rows_of(record)
                    key = (table, step, getattr(record, "micro_batch", None))
                    if key in given and table != "events":
                        with pytest.raises(RunFolderError, match="given already"):
                            recorder.record(record)
                        continue
                    given.add(key)
                    recorder.record(record)
                    pending += [(table, row) for row in rows]
                recorder.step_done(step)
                step += 1
                continue
            if action == "flush":
                recorder.flush()
            elif action == "finish":
                recorder.finish("stopped")
            if action != "kill":
                for table, row in pending:
                    kept[table].append(row)
                flushed = step
            pending = []
            check(recorder.path, kept)
            assert RunFolder(recorder.path).last_step == flushed - 1
            if action != "flush":
                step = flushed = max(0, flushed - steps_back)
                recorder = RunWriter.resume(recorder.path, step)
                kept = {table: [r for r in rows if r["step"] < step] for table, rows in kept.items()}
                check(recorder.path, kept)
        recorder.finish("finished")
        for table, row in pending:
            kept[table].append(row)
        check(recorder.path, kept)
        # One file a table and nothing else.
        assert all("-g" in path.name for path in recorder.path.glob("*.parquet*"))
