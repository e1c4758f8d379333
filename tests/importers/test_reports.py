"""What a report must say of files that are wrong in the ways files are wrong."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from foreign_files import (
    E,
    K,
    L,
    T,
    counts_of,
    entries,
    entry,
    import_one,
    loads_of,
    long_frame,
    random_counts,
    random_routes,
    write_lines,
)
from route_samples import route_records, trace_line

from explorer.errors import ExplorerError, ForeignFileError
from explorer.importers import import_path
from explorer.importers.bias_checks import BiasChecks
from explorer.importers.load_checks import LoadChecks
from explorer.importers.report import Report
from explorer.importers.trace import LoadStep
from explorer.recording import RunFolder


def import_routes(routes: np.ndarray, folder: Path, **options: Any) -> Any:
    np.save(folder / "routes.npy", routes)
    return import_one(folder / "routes.npy", folder, "routed_experts", num_experts=E, **options)


@pytest.mark.parametrize("rows", [15, 16])
def test_a_warm_up_has_at_least_sixteen_identical_rows(rows: int, tmp_path: Path) -> None:
    routes = random_routes(tokens=40)
    block = np.tile(routes[:1], (rows - 1, 1, 1))
    run = import_routes(np.concatenate([block, routes]), tmp_path)
    warm_ups = entries(run, "warm_up")
    assert len(warm_ups) == (L if rows == 16 else 0)
    assert loads_of(run).sum() == (39 if rows == 16 else 40 + 14) * L * K


def test_a_block_in_the_middle_is_found_across_chunks(tmp_path: Path) -> None:
    routes = random_routes(tokens=9000)[:, :1]
    routes[4000:4300] = routes[4000]
    path = write_lines(tmp_path / "moe_routes.jsonl", route_records(routes))
    run = import_one(path, tmp_path, num_experts=E)
    warm_up = entry(run, "warm_up")
    assert warm_up["counts"]["rows"] == 300
    assert warm_up["place"] == "row 4000"
    expected = counts_of(np.concatenate([routes[:4000], routes[4300:]]))
    np.testing.assert_array_equal(loads_of(run), expected)


def test_windows_of_tokens_become_steps(tmp_path: Path) -> None:
    routes = random_routes(tokens=50)
    run = import_routes(routes, tmp_path, tokens_per_step=20)
    assert loads_of(run).sum(axis=(1, 2)).tolist() == [20 * L * K, 20 * L * K, 10 * L * K]
    np.testing.assert_array_equal(loads_of(run)[:1], counts_of(routes[:20]))


def test_a_capture_that_was_never_filled_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "routes.npy", np.zeros((50, L, K), dtype=np.int16))
    with pytest.raises(ForeignFileError, match="as an unfilled capture does"):
        import_path(tmp_path / "routes.npy", tmp_path / "runs", "routed_experts", {"num_experts": "8"})


def test_dense_layers_of_a_capture_are_left_out_and_not_called_busy(tmp_path: Path) -> None:
    routes = random_routes()
    routes[:, 0] = 0
    run = import_routes(routes, tmp_path)
    assert RunFolder(run.path).info.layer_numbers == (1, 2)
    assert entry(run, "dense_layers")["counts"]["layers"] == 1


def test_missing_and_unfilled_rows_are_counted_apart(tmp_path: Path) -> None:
    routes = random_routes()
    routes[3], routes[7, :, 0], routes[9] = -1, -1, 0
    run = import_routes(routes, tmp_path)
    assert [one["counts"]["rows"] for one in entries(run, "missing_rows")] == [2] * L
    assert [one["counts"]["rows"] for one in entries(run, "unfilled_rows")] == [1] * L
    assert loads_of(run).sum() == (T - 3) * L * K


def test_an_unsigned_minus_one_is_missing(tmp_path: Path) -> None:
    routes = random_routes().astype(np.uint8)
    routes[5] = 255
    run = import_routes(routes, tmp_path)
    assert [one["counts"]["rows"] for one in entries(run, "missing_rows")] == [1] * L


def test_padding_in_ascending_order_is_said(tmp_path: Path) -> None:
    routes = np.stack([[np.random.default_rng(t).permutation(16)[:6] for _ in range(2)] for t in range(200)])
    routes[::9] = np.arange(6)
    np.save(tmp_path / "routes.npy", routes)
    run = import_one(tmp_path / "routes.npy", tmp_path, "routed_experts", num_experts=16)
    assert [one["counts"]["rows"] for one in entries(run, "padding_fill")] == [23, 23]
    assert not entries(import_routes(random_routes(tokens=500), tmp_path), "padding_fill")


def test_rows_that_repeat_the_row_before_are_said(tmp_path: Path) -> None:
    run = import_routes(np.repeat(random_routes(tokens=20), 5, axis=0), tmp_path)
    assert [one["counts"]["rows"] for one in entries(run, "identical_rows")] == [80] * L


def test_turns_that_return_the_whole_conversation_count_once(tmp_path: Path) -> None:
    routes = random_routes()
    records = [{"routed_experts": routes[:n].tolist()} for n in (20, 45, 64)]
    run = import_one(write_lines(tmp_path / "r.jsonl", records), tmp_path, num_experts=E)
    assert entry(run, "repeated_turns")["counts"]["rows"] == 20 + 45
    np.testing.assert_array_equal(loads_of(run), counts_of(routes))


def test_base64_that_was_encoded_twice_is_said(tmp_path: Path) -> None:
    from route_samples import sample_routed_experts

    sample = sample_routed_experts(tmp_path)
    run = import_one(sample.path, tmp_path, **sample.options)
    assert entry(run, "nested_base64")["counts"]["arrays"] == 1


def test_a_recomputed_forward_pass_counts_once(tmp_path: Path) -> None:
    routes = random_routes()
    lines = [trace_line(0, layer, routes[:, layer]) for _ in range(2) for layer in range(L)]
    run = import_one(write_lines(tmp_path / "router_trace_rank0.jsonl", lines), tmp_path, num_experts=E)
    assert entry(run, "recomputed")["counts"]["lines"] == L
    np.testing.assert_array_equal(loads_of(run), counts_of(routes))


def test_blocks_of_multi_token_prediction_come_last(tmp_path: Path) -> None:
    routes = random_routes()
    lines = [trace_line(0, 0, routes[:, 0], block="mtp", mtp_idx=0)]
    lines += [trace_line(0, layer, routes[:, layer - 3]) for layer in (4, 5)]
    run = import_one(write_lines(tmp_path / "router_trace_rank0.jsonl", lines), tmp_path, num_experts=E)
    assert RunFolder(run.path).info.layer_numbers == (4, 5, 6)
    np.testing.assert_array_equal(loads_of(run)[0, 2], counts_of(routes[:, :1])[0, 0])


def test_ranks_of_a_folder_are_summed(tmp_path: Path) -> None:
    folder = tmp_path / "trace"
    folder.mkdir()
    routes = [random_routes(seed) for seed in (1, 2)]
    for rank, one in enumerate(routes):
        lines = [trace_line(3, layer, one[:, layer], rank=rank) for layer in range(L)]
        write_lines(folder / f"router_trace_rank{rank}.jsonl", lines)
    run = import_one(folder, tmp_path, num_experts=E)
    np.testing.assert_array_equal(loads_of(run), counts_of(np.concatenate(routes)))
    assert RunFolder(run.path).info.scope == "global"
    single = import_one(folder / "router_trace_rank1.jsonl", tmp_path, num_experts=E)
    assert RunFolder(single.path).info.scope == "rank"
    assert entry(single, "single_rank")["severity"] == "assumption"


def test_absent_rows_and_repeated_rows_of_a_table(tmp_path: Path) -> None:
    counts = random_counts()
    rows = long_frame(counts)
    rows = pl.concat([rows.filter(pl.col("expert") != 5), rows.filter(pl.col("expert") == 1)])
    rows.write_csv(tmp_path / "loads.csv")
    run = import_one(tmp_path / "loads.csv", tmp_path, num_experts=E)
    counts[:, :, 5] = 0
    counts[:, :, 1] *= 2
    np.testing.assert_array_equal(loads_of(run), counts)
    assert entry(run, "absent_keys")["counts"]["cells"] == 12
    assert entry(run, "repeated_rows")["counts"]["cells"] == 12
    assert entry(run, "idle_experts")["counts"]["experts"] == 3
    assert entry(run, "layer_totals")["severity"] == "warning"


def test_a_layer_without_rows_is_named_with_its_totals(tmp_path: Path) -> None:
    counts = random_counts()
    rows = long_frame(counts).filter(~((pl.col("step") == 1) & (pl.col("layer") == 0)))
    rows.write_csv(tmp_path / "loads.csv")
    text = entry(import_one(tmp_path / "loads.csv", tmp_path, num_experts=E), "layer_totals")["sentence"]
    most = counts[1].sum(axis=1)[1:].max()
    assert text.startswith("Step 1: the loads of layer 0 add up to 0, those of layer ")
    assert f"to {most:,}. Where every token" in text


def test_the_question_for_the_number_of_experts_names_the_ids_that_occur(tmp_path: Path) -> None:
    long_frame(random_counts()).write_csv(tmp_path / "loads.csv")
    with pytest.raises(ForeignFileError, match=f"ids run to {E - 1}, so at least {E}, .*num_experts={E}"):
        import_one(tmp_path / "loads.csv", tmp_path)


def test_columns_are_mapped_by_options(tmp_path: Path) -> None:
    counts = random_counts()
    rows = long_frame(counts).rename({"step": "t", "layer": "l", "expert": "e", "tokens": "n"})
    rows.sample(fraction=1, shuffle=True, seed=0).write_csv(tmp_path / "x.csv", separator=";")
    options = {"step": "t", "layer": "l", "expert": "e", "tokens": "n"}
    run = import_one(tmp_path / "x.csv", tmp_path, "table", num_experts=E, **options)
    np.testing.assert_array_equal(loads_of(run), counts)
    assert entry(run, "sorted")


def test_axes_are_named_by_an_option(tmp_path: Path) -> None:
    counts = random_counts()
    np.save(tmp_path / "x.npy", np.asfortranarray(counts.transpose(1, 2, 0).astype(np.float32)))
    run = import_one(tmp_path / "x.npy", tmp_path, axes="layer,expert,step")
    np.testing.assert_array_equal(loads_of(run), counts)


def test_layers_are_named_or_shifted_by_options(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", random_counts())
    named = import_one(tmp_path / "x.npy", tmp_path, layers="3,5-6")
    assert RunFolder(named.path).info.layer_numbers == (3, 5, 6)
    shifted = import_one(tmp_path / "x.npy", tmp_path, layer_offset=3)
    assert RunFolder(shifted.path).info.layer_numbers == (3, 4, 5)
    with pytest.raises(ForeignFileError, match="names 2 layers"):
        import_one(tmp_path / "x.npy", tmp_path, layers="3,5")


def test_labels_are_answers_too(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", random_counts())
    run = import_one(
        tmp_path / "x.npy",
        tmp_path,
        phase="decode",
        scope="rank",
        top_k=2,
        balancer="loss_free:u=0.001",
        name="A",
    )
    info = RunFolder(run.path).info
    assert (info.phase, info.scope, info.top_k, info.tokens_per_step) == ("decode", "rank", K, T)
    assert info.balancer_family == "loss_free"
    assert info.name == "A"
    assert not {"phase", "top_k", "balancer"} & {one["kind"] for one in run.report}


def test_steps_that_go_back_are_two_starts(tmp_path: Path) -> None:
    counts = random_counts()
    records = [{"step": step, "expert_load": one.tolist(), "p2l_map": [list(range(E))] * L} for step, one in
               zip((5, 6, 5, 6), counts, strict=True)]  # fmt: skip
    run = import_one(write_lines(tmp_path / "x.jsonl", records), tmp_path)
    assert entry(run, "engine_starts")["counts"]["starts"] == 2
    assert RunFolder(run.path).read("steps").sort("step")["step"].to_list() == [5, 6, 7, 8]
    np.testing.assert_array_equal(loads_of(run), counts)


def bias_report(moves: np.ndarray, counts: np.ndarray, start: float = 0.25) -> Report:
    """Of a run whose bias moves like that; [S, L, E]."""
    report, checks = Report(), BiasChecks()
    biases = start * np.arange(E) + np.cumsum(np.concatenate([np.zeros_like(moves[:1]), moves]), axis=0)
    for step, tokens in enumerate(counts):
        checks.add(LoadStep(step=step, tokens_LE=tokens, expert_bias_LE=biases[step].astype(np.float32)))
    checks.report(report)
    return report


def kinds(report: Report) -> set[str]:
    return {one.kind for one in report.entries}


def test_a_bias_of_the_wrong_sign_contradicts_the_loads() -> None:
    counts = random_counts(steps=40)
    error = np.sign(counts.mean(axis=2, keepdims=True) - counts)[:-1]
    assert "bias_sign" in kinds(bias_report(-0.001 * error, counts))
    right = bias_report(0.001 * error, counts)
    assert "bias_sign" not in kinds(right)
    rate = next(one for one in right.entries if one.kind == "bias_rate")
    assert round(rate.counts["smallest_move"], 5) == 0.001


def test_several_updates_per_step_show_in_the_moves() -> None:
    counts = random_counts(steps=60)
    error = np.sign(counts.mean(axis=2, keepdims=True) - counts)[:-1]
    times = np.where(np.arange(59) % 2, 4, 1)[:, None, None]
    report = bias_report(0.001 * error * times, counts)
    assert "up to 4 updates per step" in next(e for e in report.entries if e.kind == "bias_rate").sentence


@pytest.mark.parametrize(("start", "kind"), [(0.0, "bias_zero"), (0.25, "bias_frozen"), (0.25, "bias_bf16")])
def test_biases_that_never_move(start: float, kind: str) -> None:
    counts = random_counts(steps=10)
    assert kind in kinds(bias_report(np.zeros((9, L, E)), counts, start))


def test_a_bias_that_is_the_same_for_all_experts_changes_nothing() -> None:
    moves = np.full((9, L, E), 0.0011)
    report = bias_report(moves, random_counts(steps=10), start=0.0)
    assert "bias_constant" in kinds(report)
    assert "bias_bf16" not in kinds(report)


def test_logits_that_are_probabilities_or_constant(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    logits = torch.softmax(torch.randn(50, E, generator=torch.Generator().manual_seed(0)), dim=1)
    logits[7] = 1 / E
    torch.save((logits,), tmp_path / "router_logits.pt")
    run = import_one(tmp_path / "router_logits.pt", tmp_path, top_k=2)
    assert entry(run, "softmaxed")["counts"]["layers"] == 1
    assert entry(run, "constant_logits")["counts"]["rows"] == 1
    assert entry(run, "no_mask")


def test_ranks_that_are_missing_are_said(tmp_path: Path) -> None:
    folder = tmp_path / "tokens_per_expert"
    folder.mkdir()
    write_lines(folder / "rank1.jsonl", [{"iter": 0, "layer": 0, "tpe": [[1, 2], [3, 4]]}])
    run = import_one(folder, tmp_path, num_experts=4)
    assert loads_of(run).tolist() == [[[0, 0, 4, 6]]]
    assert entry(run, "ranks_missing")["severity"] == "warning"


def test_the_report_lies_in_the_run_folder(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", random_counts())
    run = import_one(tmp_path / "x.npy", tmp_path)
    document = json.loads((run.path / "import_report.json").read_text())
    assert document == {"format": "npy", "file": "x.npy", "entries": run.report}


def test_the_dumps_of_all_ranks_are_summed(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    counts = random_counts()
    folder = tmp_path / "dumps"
    folder.mkdir()
    for rank, share in enumerate((counts // 3, counts - counts // 3)):
        records = [
            {"forward_pass_id": 7 + step, "rank": rank, "global_physical_count": torch.tensor(one)}
            for step, one in enumerate(share)
        ]
        to_logical = torch.arange(E).repeat(L, 1)
        dump = {"records": records, "last_physical_to_logical_map": to_logical}
        torch.save(dump, folder / f"expert_distribution_recorder_5_{rank}.pt")
    np.testing.assert_array_equal(loads_of(import_one(folder, tmp_path)), counts)


def test_layers_that_are_shifted_by_dense_ones_fit_another_run(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    popularity = rng.dirichlet(np.ones(16), size=12)
    first, second = (rng.poisson(5000 * popularity) for _ in range(2))
    np.save(tmp_path / "a.npy", np.concatenate([np.zeros((3, 16), dtype=np.int64), first]))
    np.save(tmp_path / "b.npy", second)
    reference = import_one(tmp_path / "a.npy", tmp_path)
    shifted = import_one(tmp_path / "b.npy", tmp_path, reference=reference.path)
    assert entry(shifted, "shifted_layers")["counts"]["shift"] == 3
    fitting = import_one(tmp_path / "b.npy", tmp_path, reference=reference.path, layer_offset=3)
    assert not entries(fitting, "shifted_layers")
    assert entry(fitting, "layers_fit")["counts"]["cosine"] > 0.9
    with pytest.raises(ExplorerError, match=r"run\.json"):
        import_one(tmp_path / "b.npy", tmp_path, reference=tmp_path)


@pytest.mark.parametrize(("completion", "short"), [(15, 0), (16, 1)])
def test_rows_are_held_against_the_tokens_of_a_response(completion: int, short: int, tmp_path: Path) -> None:
    usage = {"prompt_tokens": 50, "completion_tokens": completion}
    record = {"usage": usage, "choices": [{"routed_experts": random_routes().tolist()}]}
    run = import_one(write_lines(tmp_path / "r.jsonl", [record]), tmp_path, num_experts=E)
    missing_rows = entries(run, "rows_missing")
    assert len(missing_rows) == short
    if missing_rows:
        assert missing_rows[0]["counts"] == {"responses": 1, "rows": 64, "tokens": 66}


@pytest.mark.parametrize(
    ("steps", "missing", "first"),
    [
        ([s for s in range(60) if s != 30], 1, 30),
        ([s for s in range(0, 600, 10) if s not in (100, 110)], 2, 100),
        (list(range(60)), 0, None),
        ([s * s for s in range(60)], 0, None),
    ],
)
def test_steps_that_a_regular_log_leaves_out_are_said(
    steps: list[int], missing: int, first: int | None
) -> None:
    report, checks = Report(), LoadChecks([0], 0.0)
    for step in steps:
        checks.add(LoadStep(step=step, tokens_LE=np.ones((1, E), dtype=np.int64)))
    checks.report(report)
    gaps = [one for one in report.entries if one.kind == "missing_steps"]
    assert [one.counts["steps"] for one in gaps] == ([missing] if missing else [])
    assert [one.place for one in gaps] == ([f"step {first}"] if missing else [])
