"""Kill a writer at the n-th change of the disk."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from explorer.recording import RunInfo
from explorer.recording.run_writer import RunWriter
from explorer.records.records import LoadRecord, StepRecord

L, E = 2, 3
INFO = RunInfo(
    run_id="run", name="", num_moe_layers=L, num_experts=E, top_k=1, tokens_per_step=1, num_steps=99
)


def give(recorder: RunWriter, step: int) -> None:
    recorder.record(StepRecord(step=step, tokens_seen=step, lm_loss=float(step)))
    if step % 3:  # a table without rows in some steps
        recorder.record(LoadRecord(step=step, tokens_LE=step * 100 + np.arange(L * E).reshape(L, E)))
    recorder.step_done(step)


class Killed(BaseException):
    """Raised in place of the kill; no handler of the product may catch it."""


@pytest.fixture
def kill_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[str]]:
    """`kill_at(n)`: the n-th change of the disk does not happen any more, nor any after it.

    Returns the list of the changes so far.
    """
    originals: dict[str, Any] = {n: getattr(Path, n) for n in ("replace", "unlink", "rename", "open")}
    monkeypatch.setattr(os, "fsync", lambda _: None)  # a kill is no power cut

    def arm(limit: int) -> list[str]:
        done: list[str] = []

        def count(name: str) -> None:
            if len(done) >= limit:
                raise Killed(name)
            done.append(name)

        def guard(name: str) -> Callable[..., Any]:
            def call(self: Path, *args: Any, **kwargs: Any) -> Any:
                if name != "open" or (args and set(args[0]) & set("wxa+")):
                    count(f"{name} {self.name}")
                return originals[name](self, *args, **kwargs)

            return call

        for name in originals:
            monkeypatch.setattr(Path, name, guard(name))
        return done

    return arm
