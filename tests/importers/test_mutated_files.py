"""Mutated files of every format, real ones where they are present: refused in one sentence, or whole runs.

FUZZ_EXAMPLES sets how many mutations are tried per file.
"""

import json
import lzma
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from file_mutations import mutated
from foreign_files import loads_of, real
from foreign_samples import SAMPLES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from explorer.errors import ExplorerError
from explorer.importers import UNFORESEEN, import_path
from explorer.recording import list_runs

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "4"))
HANG_S = 60
MOST_LINES = 200
"""Lines of a long log that are mutated: the same rules for a fraction of the time."""
REAL: dict[str, dict[str, str]] = {
    "sglang_deepseek_r1_prefill_in1024.json": {"top_k": "8"},
    "esft_deepseek_v2_lite_law_expert_weights_1.txt": {"num_experts": "64"},
    "esft_deepseek_v2_lite_law_summary.json": {"num_experts": "64"},
    "vllm_olmoe_moe_routes.jsonl": {"num_experts": "64"},
    "vllm_qwen15_moe_routes.jsonl.xz": {"num_experts": "60"},
    "gpt_oss_20b_mmlu_pro_law.json": {"num_experts": "32"},
    "olmoe_expert_counts_arxiv.pkl": {"num_experts": "64"},
    "training_counts_printed_tensors.md": {"num_experts": "6"},
    "training_scalars_train_log.jsonl": {},
    "training_unified_summary.csv": {},
    "capacity_sweep.jsonl": {},
    "vllm_ascend_expert_map.json": {},
}
"""Real file -> what an import of it has to be told."""


@contextmanager
def no_hang() -> Iterator[None]:
    """Fail instead of waiting for an import that does not end."""

    def give_up(_number: int, _frame: object) -> None:
        raise AssertionError(f"the import did not end within {HANG_S} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(HANG_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def check(path: Path, form: str | None, options: dict[str, str]) -> None:
    """An import of this file is one sentence without a trace, or whole runs."""
    runs_dir = path.parent / "runs"
    try:
        with no_hang():
            runs = import_path(path, runs_dir, form, options)
    except ExplorerError as error:
        sentence = str(error)
        assert (list(runs_dir.iterdir()) if runs_dir.exists() else []) == []
        assert "\n" not in sentence
        assert len(sentence) < 1500
        assert UNFORESEEN not in sentence
        return
    listed = list_runs(runs_dir)
    assert {one.run_id for one in listed} == {run.run_id for run in runs}
    assert [one.problem for one in listed if one.problem is not None] == []
    for one, run in zip(listed, runs, strict=True):
        if one.info is not None and one.info.num_moe_layers:
            assert (loads_of(run) >= 0).all()
        json.dumps(run.report, allow_nan=False)


@pytest.mark.parametrize("name", REAL)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_mutated_real_files_are_refused_or_imported_whole(name: str, data: st.DataObject) -> None:
    content = real(name).read_bytes()
    if name.endswith(".xz"):
        content = lzma.decompress(content)
    if name.endswith((".jsonl", ".jsonl.xz", ".txt")):
        content = b"\n".join(content.split(b"\n")[:MOST_LINES])
    check_mutated(name.removesuffix(".xz"), content, None, REAL[name], data)


@pytest.mark.parametrize("name", [n for n in SAMPLES if n not in ("megatron_tokens", "tensorrt_llm")])
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_mutated_samples_are_refused_or_imported_whole(name: str, data: st.DataObject) -> None:
    form, write = SAMPLES[name]
    with tempfile.TemporaryDirectory() as text:
        sample = write(Path(text))
        file_name, content = sample.path.name, sample.path.read_bytes()
    check_mutated(file_name, content, form, sample.options, data)


def check_mutated(
    name: str, content: bytes, form: str | None, options: dict[str, Any], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as text:
        path = Path(text) / name
        path.write_bytes(mutated(data.draw, content))
        check(path, form, options)
