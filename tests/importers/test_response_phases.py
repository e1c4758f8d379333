"""Routed experts of responses, with prefill and decode apart: the counts of each by loops."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_files import write_lines

from explorer.errors import ForeignFileError
from explorer.importers import import_path
from explorer.importers.response_phases import prompt_rows
from explorer.recording.reader import RunFolder

L, E, K = 3, 8, 2
RESPONSES = ((12, 8), (10, 1), (5, 10))
"""Tokens of the prompt and of the answer; the last token of an answer has no row."""


def made(seed: int = 0) -> list[np.ndarray]:
    """The routes of each response, [rows, L, K]."""
    rng = np.random.default_rng(seed)
    return [
        np.argsort(rng.random((prompt + output - 1, L, E)), axis=-1)[..., :K] for prompt, output in RESPONSES
    ]


def slow_counts(parts: list[np.ndarray]) -> list[list[int]]:
    counts = [[0] * E for _ in range(L)]
    for part in parts:
        for row in part.tolist():
            for layer in range(L):
                for expert in row[layer]:
                    counts[layer][expert] += 1
    return counts


def records(form: str) -> list[dict[str, Any]]:
    """The same routes as vLLM sends them, or as SGLang does with token ids or with usage alone."""
    responses: list[dict[str, Any]] = []
    for (prompt, output), routes in zip(RESPONSES, made(), strict=True):
        if form == "vllm":
            choice = {"routed_experts": routes[prompt:].tolist()} if len(routes) > prompt else {}
            responses.append({"choices": [choice], "prompt_routed_experts": routes[:prompt].tolist()})
            continue
        data = base64.b64encode(routes.astype("<i4").tobytes()).decode()
        one: dict[str, Any] = {"meta_info": {"routed_experts": data}}
        if form == "ids":
            one |= {"input_ids": list(range(prompt)), "output_ids": list(range(output))}
        elif form == "usage":
            one |= {"usage": {"prompt_tokens": prompt, "completion_tokens": output}}
        responses.append(one)
    return responses


def bring(path: Path, folder: Path, **options: str) -> dict[str, RunFolder]:
    """Phase -> run."""
    sizes = {"num_experts": str(E), "num_layers": str(L), "top_k": str(K)}
    imported = import_path(path, folder, options=sizes | options)
    runs = [RunFolder(one.path) for one in imported]
    return {str(json.loads((run.path / "run.json").read_text())["phase"]): run for run in runs}


def counts_of(run: RunFolder) -> list[list[int]]:
    rows = run.read("expert_loads").sort("layer", "expert")
    return rows["tokens"].to_numpy().reshape(L, E).tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("form", ["vllm", "ids", "usage"])
def test_prompts_are_prefill_and_generated_tokens_decode(form: str, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "responses.jsonl", records(form))
    runs = bring(path, tmp_path / "runs", split="phases")
    assert set(runs) == {"prefill", "decode"}
    rows = list(zip(RESPONSES, made(), strict=True))
    assert counts_of(runs["prefill"]) == slow_counts([routes[:prompt] for (prompt, _), routes in rows])
    assert counts_of(runs["decode"]) == slow_counts([routes[prompt:] for (prompt, _), routes in rows])
    together = bring(path, tmp_path / "whole")
    assert counts_of(together["serving"]) == slow_counts(made())


def test_responses_that_do_not_say_where_the_prompt_ends_are_refused(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "responses.jsonl", records("nothing"))
    with pytest.raises(ForeignFileError, match=r"which of its rows are of the prompt.*leave out"):
        bring(path, tmp_path / "runs", split="phases")
    assert not list((tmp_path / "runs").glob("*"))


@pytest.mark.parametrize(
    ("rows", "lengths", "expected"),
    [
        (19, [(12, 8)], 12),
        (20, [(12, 8)], 12),
        (7, [(12, 8)], 0),
        (12, [(12, 8)], 12),
        (18, [(12, 8)], None),
        (19, [(None, None), (12, 8)], 12),
        (19, [(19, None)], 19),
        (12, [(12, 1)], 12),
    ],
)
def test_rows_of_the_prompt(
    rows: int, lengths: list[tuple[int | None, int | None]], expected: int | None
) -> None:
    assert prompt_rows(rows, lengths) == expected
