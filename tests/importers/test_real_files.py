"""Real files of other people, where they lie beside the checkout: figures that others published or
measured."""

import json
from pathlib import Path

import numpy as np
import pytest
from foreign_files import entries, entry, import_one, loads_of, real

from explorer.errors import ForeignFileError
from explorer.importers import import_path
from explorer.metrics import max_vio
from explorer.recording import RunFolder


@pytest.mark.parametrize(("tokens", "vio"), [(512, 5.11), (1024, 5.53), (4096, 7.12)])
def test_imbalance_of_deepseek_r1_grows_with_the_input(tokens: int, vio: float, tmp_path: Path) -> None:
    run = import_one(real(f"sglang_deepseek_r1_prefill_in{tokens}.json"), tmp_path)
    info = RunFolder(run.path).info
    assert info.layer_numbers == tuple(range(3, 61))
    assert (info.num_experts, info.phase, info.scope) == (256, "prefill", "global")
    counts = loads_of(run)[0]
    assert round(float(max_vio(counts).mean()), 2) == vio
    assert set(counts.sum(axis=1).tolist()) == {67_108_864}
    dense = entry(run, "dense_layers")
    assert dense["counts"]["layers"] == 3
    assert "not called dead" in dense["sentence"]
    assert not entries(run, "idle_experts")
    assert f"MaxVio {vio:.2f} (mean of 58 layers)" in entry(run, "imbalance")["sentence"]


def test_unequal_totals_are_reported_and_not_refused(tmp_path: Path) -> None:
    run = import_one(real("sglang_deepseek_r1_prefill_in1800out100.json"), tmp_path, top_k=8)
    assert "0.02 %" in entry(run, "layer_totals")["sentence"]


def test_decode_is_a_phase(tmp_path: Path) -> None:
    run = import_one(real("sglang_deepseek_r1_decode_in1000out1000.json"), tmp_path, top_k=8)
    assert RunFolder(run.path).info.phase == "decode"
    assert round(float(max_vio(loads_of(run)[0]).mean()), 1) == 4.6


@pytest.mark.parametrize(
    ("name", "options", "rows", "without", "including"),
    [
        ("vllm_olmoe_moe_routes.jsonl", {}, 2048, 4.08, 5.00),
        ("vllm_qwen15_moe_routes.jsonl.xz", {"num_experts": 60}, 16_384, 0.48, 12.20),
    ],
)
def test_the_warm_up_of_an_engine_is_left_out(
    name: str, options: dict[str, int], rows: int, without: float, including: float, tmp_path: Path
) -> None:
    run = import_one(real(name), tmp_path, **options)
    assert round(float(max_vio(loads_of(run)[0, 0])), 2) == without
    warm_up = entry(run, "warm_up")
    assert warm_up["counts"]["rows"] == rows
    assert f"MaxVio {without:.2f} without them, {including:.2f} with them" in warm_up["sentence"]
    kept = import_one(real(name), tmp_path, warm_up="keep", **options)
    assert round(float(max_vio(loads_of(kept)[0, 0])), 2) == including


def test_two_starts_of_an_engine_become_two_runs_when_asked(tmp_path: Path) -> None:
    path = real("vllm_qwen15_moe_routes.jsonl.xz")
    together = import_one(path, tmp_path, num_experts=60)
    assert "from row 0 and 9,396" in entry(together, "warm_up")["sentence"]
    assert entry(together, "engine_starts")["counts"]["starts"] == 2
    apart = import_path(path, tmp_path / "runs", options={"num_experts": "60", "split": "starts"})
    assert len(apart) == 2
    assert sum(loads_of(run).sum() for run in apart) == loads_of(together).sum() == 2434 * 4
    assert not any(entries(run, "engine_starts") for run in apart)


def test_the_number_of_experts_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ForeignFileError, match=r"--option num_experts="):
        import_path(real("vllm_qwen15_moe_routes.jsonl.xz"), tmp_path / "runs")
    assert list((tmp_path / "runs").iterdir()) == []


def test_equal_weights_are_called_constant_logits(tmp_path: Path) -> None:
    run = import_one(real("vllm_olmoe_moe_routes.jsonl"), tmp_path)
    assert entry(run, "constant_logits")["counts"]["rows"] == 2048


def test_esft_counts_reproduce_the_published_summary(tmp_path: Path) -> None:
    run = import_one(real("esft_deepseek_v2_lite_law_expert_weights_1.txt"), tmp_path, num_experts=64)
    counts = loads_of(run)[0, 0]
    table = json.loads(real("esft_deepseek_v2_lite_law_summary.json").read_text())["token_scores"]["1"]
    published = np.array([table[str(expert)] for expert in range(64)])
    np.testing.assert_array_equal(np.round(counts / counts.sum(), 4), published)
    assert published[8] == 0.0167
    info = RunFolder(run.path).info
    assert (info.layer_numbers, info.top_k, info.tokens_per_step) == ((1,), 6, 8_327)
    assert "49,962 expert ids: 8,327 tokens of 6" in entry(run, "sequences")["sentence"]


def test_the_published_summary_is_a_run_of_shares(tmp_path: Path) -> None:
    run = import_one(real("esft_deepseek_v2_lite_law_summary.json"), tmp_path, num_experts=64, top_k=6)
    info = RunFolder(run.path).info
    assert (info.layer_numbers, info.unit) == (tuple(range(1, 27)), "shares × 10,000")


def test_frequencies_that_do_not_add_up_are_said(tmp_path: Path) -> None:
    runs = import_path(
        real("gpt_oss_20b_mmlu_pro_law.json"), tmp_path / "runs", options={"num_experts": "32"}
    )
    assert [RunFolder(run.path).info.phase for run in runs] == ["reasoning", "answer"]
    assert [entry(run, "absent_keys")["counts"]["cells"] for run in runs] == [9, 66]
    sums = [entry(run, "sum_of_frequencies")["counts"] for run in runs]
    assert [round(one["least"], 2) for one in sums] == [3.97, 3.71]


def test_olmoe_counters_are_read_without_unpickling(tmp_path: Path) -> None:
    run = import_one(real("olmoe_expert_counts_arxiv.pkl"), tmp_path, num_experts=64, top_k=8)
    counts = loads_of(run)[0]
    assert RunFolder(run.path).info.layer_numbers == (0, 7, 15)
    assert counts[0, 0] == 204_013
    assert set(counts.sum(axis=1).tolist()) == {1_671_168}


def test_printed_tensors_are_a_training_series(tmp_path: Path) -> None:
    run = import_one(real("training_counts_printed_tensors.md"), tmp_path, top_k=3)
    counts = loads_of(run)
    assert counts.shape == (44, 2, 6)
    assert (counts.sum(axis=2) == 30_720).all()
    vio = max_vio(counts)
    assert (round(float(vio.min()), 2), round(float(vio.max()), 2)) == (0.07, 0.21)
    assert entry(run, "unreadable_lines")["counts"]["lines"] == 1


def test_scalars_without_experts_say_what_cannot_be_shown(tmp_path: Path) -> None:
    run = import_one(real("training_scalars_train_log.jsonl"), tmp_path)
    assert "MaxVio" in entry(run, "no_loads")["sentence"]
    assert RunFolder(run.path).info.num_moe_layers == 0
    assert RunFolder(run.path).read("steps")["lm_loss"].null_count() == 0


@pytest.mark.parametrize("name", ["training_unified_summary.csv", "capacity_sweep.jsonl"])
def test_a_table_of_results_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ForeignFileError, match="nothing of it can be shown"):
        import_path(real(name), tmp_path / "runs")


def test_a_placement_is_called_one(tmp_path: Path) -> None:
    run = import_one(real("vllm_ascend_expert_map.json"), tmp_path)
    assert RunFolder(run.path).info.unit == "replicas"
    assert entry(run, "placement")["severity"] == "warning"
