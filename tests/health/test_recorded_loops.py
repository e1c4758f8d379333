"""Findings in runs as somebody's training loop records them: few tokens per step, counts and tokens."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from explorer.health import diagnose, read_folder
from explorer.health.chance import effective_by_chance, max_vio_by_chance
from explorer.health.live import LiveHealth
from explorer.recording import Recorder, RunFolder, RunInfo
from explorer.recording import loop as loop_module

L, E, K = 2, 64, 2


def uniform_counts(num_tokens: int, steps: int = 200, width: int = E) -> np.ndarray:
    """[S, L, E] of a router without any preference."""
    scores = np.random.default_rng(3).random((steps, L, num_tokens, width))
    expert_ids = scores.argpartition(K - 1, axis=-1)[..., :K].reshape(steps, L, -1)
    return (expert_ids[..., None] == np.arange(width)).sum(-2)


def recorded(path: Path, counts: np.ndarray, tokens: int | None = None, **settings: Any) -> Path:
    """A run of the recorder; tokens: what the loop says that a step has."""
    sizes = {"num_layers": L, "num_experts": counts.shape[-1], "top_k": K, "run_id": "run"}
    with Recorder(path, report_every_s=None, **sizes, **settings) as rec:
        for step, counts_LE in enumerate(counts):
            seen = None if tokens is None else (step + 1) * tokens
            rec.log(step, tokens_per_expert=counts_LE, tokens_seen=seen)
    return path / "run"


def kinds(path: Path) -> set[str]:
    return {finding.kind for finding in diagnose(read_folder(RunFolder(path)))}


@pytest.mark.parametrize("num_tokens", [4, 16, 64])
@pytest.mark.parametrize("balancer", ["", "aux_loss:coeff=0.01"])
def test_few_tokens_per_step_are_no_imbalance(tmp_path: Path, num_tokens: int, balancer: str) -> None:
    assert kinds(recorded(tmp_path, uniform_counts(num_tokens), num_tokens, balancer=balancer)) == set()


def test_a_collapse_shows_with_few_tokens_too(tmp_path: Path) -> None:
    counts = uniform_counts(16, width=6)
    counts = np.concatenate([counts, np.zeros((200, L, E - 6), dtype=int)], axis=-1)
    assert {"collapse", "no_balancing"} <= kinds(recorded(tmp_path, counts, 16))


@pytest.mark.parametrize(("load", "width"), [(0.25, 64), (2.0, 64), (8.0, 256), (256.0, 16)])
def test_chance_is_that_of_random_numbers(load: float, width: int) -> None:
    counts = np.random.default_rng(0).multinomial(round(load * width), np.full(width, 1 / width), size=2000)
    shares = counts / counts.sum(-1, keepdims=True)
    effective = np.exp(-(shares * np.log(np.where(shares > 0, shares, 1))).sum(-1)).mean()
    assert effective_by_chance(load, width) == pytest.approx(effective, rel=0.03)
    assert max_vio_by_chance(load, width) == pytest.approx(shares.max(-1).mean() * width - 1, rel=0.05)


@pytest.mark.parametrize(("factor", "expected"), [(1, set()), (2, {"bad_counts"})])
def test_counts_are_held_against_the_tokens_that_the_loop_states(
    tmp_path: Path, factor: int, expected: set[str]
) -> None:
    path = recorded(tmp_path, uniform_counts(512, steps=40) * factor, 512)
    assert kinds(path) == expected
    assert RunFolder(path).info.tokens_per_step == 512


def test_counts_alone_say_how_many_tokens_a_step_has(tmp_path: Path) -> None:
    assert RunFolder(recorded(tmp_path, uniform_counts(512, steps=3))).info.tokens_per_step == 512


def test_the_terminal_knows_the_auxiliary_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[LiveHealth] = []

    def make(info: RunInfo) -> LiveHealth:
        made.append(LiveHealth(info))
        return made[-1]

    monkeypatch.setattr(loop_module, "live_health", make)
    counts = np.zeros((L, E), dtype=int)
    counts[:, : E // 3] = 100
    sizes = {"num_layers": L, "num_experts": E, "top_k": K, "run_id": "run"}
    with Recorder(tmp_path, report_every_s=1e9, **sizes) as rec:
        for step in range(310):
            rec.log(step, tokens_per_expert=counts, aux_loss=1.5)
            while rec._queue.qsize():
                pass
    lines = [*made[0].lines(), *made[0].lines()]
    assert any("weak_loss" in line for line in lines)
    assert not any("no_balancing" in line for line in lines)
