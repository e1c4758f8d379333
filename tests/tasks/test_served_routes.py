"""Text that a model generates itself: its routes against one token at a time, and its way to Serving."""

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from sentences import pattern
from small_corpus import use_small_corpus
from task_models import make_trained

from explorer.cli import main
from explorer.config.presets import tiny
from explorer.errors import ConfigError
from explorer.recording.reader import RunFolder
from explorer.running.into_folder import train_run
from explorer.tasks.served_routes import responses, write_responses
from explorer.tasks.specialisation import sequences_by_domain
from explorer.tasks.trained import TrainedModel


def experts_of_last(trained: TrainedModel, tokens: list[int]) -> list[list[int]]:
    """[L][K] of the last token, as a server computes it: from the tokens before it alone."""
    layers = trained.forward(torch.tensor([tokens])).layers
    return [sorted(layer.routing.topk_expert_ids_TK[-1].tolist()) for layer in layers]


def test_every_token_has_the_experts_that_it_takes_when_it_is_fed_back() -> None:
    trained = make_trained("loss_free", sequence_length=8)
    rows = next(iter(sequences_by_domain(trained, 3).values()))
    replies = list(responses(trained, rows, seed=1))
    assert len(replies) == 3
    for row, response in zip(rows.tolist(), replies, strict=True):
        (choice,) = response["choices"]
        prompt, answer = response["prompt_token_ids"], choice["token_ids"]
        assert prompt == row[:4]
        assert len(answer) == 5
        routes = response["prompt_routed_experts"] + choice["routed_experts"]
        tokens = prompt + answer
        assert len(routes) == len(tokens) - 1
        for place, experts in enumerate(routes):
            assert [sorted(layer) for layer in experts] == experts_of_last(trained, tokens[: place + 1])


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    for settings, rule in (
        ({"routing": "dense"}, "has no experts to write"),
        ({"top_p": 0.5}, "its own number of experts"),
        ({"routing": "expert_choice"}, "has no well-defined answer"),
    ):
        with pytest.raises(ConfigError, match=rule):
            write_responses(make_trained(**settings), tmp_path / "routes.jsonl", 2)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_generated_text_becomes_a_run_of_prefill_and_one_of_decode(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    use_small_corpus(monkeypatch)
    config = tiny().with_settings({"training.num_steps": 2, "training.warmup_steps": 1})
    runs, file = tmp_path / "runs", tmp_path / "mine.jsonl"
    train_run(config, runs, run_id="kept", keep_model=True)
    assert main(["evaluate", "kept", "--runs", str(runs), "--routes", str(file), "--problems", "2"]) == 0
    printed = capsys.readouterr().out
    assert "--option split=phases" in printed
    command = printed.split("python -m explorer ")[1].split()
    assert main([*command, "--runs", str(runs), "--option", "run_id=mine"]) == 0
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for phase, rows in (
        ("prefill", [row for line in lines for row in line["prompt_routed_experts"]]),
        ("decode", [row for line in lines for row in line["choices"][0]["routed_experts"]]),
    ):
        folder = RunFolder(runs / f"mine-{phase}")
        loads = folder.read("expert_loads").group_by("layer", "expert").agg(pl.col("tokens").sum())
        routes = np.asarray(rows)
        expected = [
            int((routes[:, layer] == expert).sum())
            for layer in range(routes.shape[1])
            for expert in range(config.model.num_experts)
        ]
        assert loads.sort("layer", "expert")["tokens"].to_list() == expected
        assert folder.info.phase == phase


def test_the_option_is_for_a_run_with_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train_run(tiny().with_settings({"training.num_steps": 2}), tmp_path, run_id="bare")
    assert main(["evaluate", str(tmp_path / "bare"), "--routes", str(tmp_path / "r.jsonl")]) == 2
    assert re.search(pattern("tasks.no_model"), capsys.readouterr().err)
