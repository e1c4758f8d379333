"""Traces of routes: kept at the import, recognised by their tokens, compared exactly, and opened."""

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_files import entry, import_one, real, write_lines
from probe_runs import LENGTH, probe_record, write_probe_run
from reference import agreement as slow
from sentences import pattern, sentence
from store_runs import DOMAINS

from explorer.errors import ForeignFileError
from explorer.figures import agreement
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Run, run_from_row
from explorer.figures.panel import Missing, Panel
from explorer.figures.store import OpenStore
from explorer.figures.two_routings import Side, TwoRoutings
from explorer.figures.views import microscope
from explorer.importers import Imported, import_path
from explorer.queries.runs import list_runs
from explorer.recording import RunFolder
from explorer.store import Index

T, L, E, K = 60, 4, 8, 2
PROMPTS = ((0, 12, 20), (20, 30, 45), (45, 50, 60))
"""First token, first generated token, end of each of three responses."""
IDS = np.random.default_rng(5).integers(0, 1000, T)


def made_routes(seed: int, tokens: int = T, layers: int = L) -> np.ndarray:
    """[tokens, layers, K] different experts, in random order."""
    return np.argsort(np.random.default_rng(seed).random((tokens, layers, E)), axis=-1)[..., :K]


ROUTES = made_routes(0)
CHANGED = ROUTES.copy()
CHANGED[::3, 1:] = made_routes(1)[::3, 1:]


def vllm_file(path: Path, routes: np.ndarray, ids: np.ndarray | None = IDS) -> Path:
    """vLLM's responses: prompt and generated rows apart; the last generated token has no row."""
    records: list[Any] = []
    for first, middle, end in PROMPTS:
        choice = {"routed_experts": routes[middle : end - 1].tolist()}
        response: dict[str, Any] = {
            "choices": [choice],
            "prompt_routed_experts": routes[first:middle].tolist(),
        }
        if ids is not None:
            response["prompt_token_ids"] = ids[first:middle].tolist()
            choice["token_ids"] = ids[middle:end].tolist()
        records.append(response)
    return write_lines(path, records)


def sglang_file(path: Path, routes: np.ndarray, ids: np.ndarray | None = IDS) -> Path:
    """SGLang's responses: flat int32 of prompt and generated rows together."""
    records: list[Any] = []
    for first, middle, end in PROMPTS:
        data = base64.b64encode(routes[first : end - 1].astype("<i4").tobytes()).decode()
        record: dict[str, Any] = {"meta_info": {"routed_experts": data}}
        if ids is not None:
            record |= {"input_ids": ids[first:middle].tolist(), "output_ids": ids[middle:end].tolist()}
        records.append(record)
    return write_lines(path, records)


def trainer_file(path: Path, routes: np.ndarray) -> Path:
    """A trainer's forward pass over the same texts: a row for every token."""
    records = [
        {"input_ids": IDS[first:end].tolist(), "exp_ids": routes[first:end].transpose(0, 2, 1).tolist()}
        for first, _, end in PROMPTS
    ]
    return write_lines(path, records)


def with_dense(routes: np.ndarray, layers: int = 3) -> np.ndarray:
    """Buffers for all layers of a model, zeros for the dense ones at its beginning."""
    return np.concatenate([np.zeros((len(routes), layers, K), dtype=routes.dtype), routes], axis=1)


def kept_rows() -> np.ndarray:
    """The tokens with a row in a response: all but the last of each."""
    return np.setdiff1d(np.arange(T), [end - 1 for *_, end in PROMPTS])


Importer = Callable[..., Imported]


@pytest.fixture
def bring(tmp_path: Path) -> Importer:
    """Import a file as the run of a name."""

    def bring(path: Path, name: str, **options: Any) -> Imported:
        return import_one(path, tmp_path, num_experts=E, run_id=name, **options)

    return bring


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[], tuple[OpenStore, dict[str, Run]]]]:
    """Open the imported runs."""
    with Index.open(tmp_path / "index.duckdb") as index:

        def opened() -> tuple[OpenStore, dict[str, Run]]:
            index.ingest([tmp_path / "runs"])
            with index.cursor() as cur:
                return OpenStore(index), {r.run_id: r for r in map(run_from_row, list_runs(cur).to_dicts())}

        yield opened


def compared(
    store: OpenStore, runs: dict[str, Run], first: str, second: str, step: int = 0
) -> Panel | Missing:
    settings = TwoRoutings(
        first=Side(run_id=first, step=0), second=Side(run_id=second, step=step), layer=runs[first].layers[0]
    )
    return agreement.by_layer(store, ArmSet.of_runs([runs[first], runs[second]]), settings)


def check_counts(answer: Panel | Missing, one: np.ndarray, other: np.ndarray) -> None:
    """one, other: [tokens, layers, K] as they were written."""
    assert isinstance(answer, Panel), answer
    assert answer.table is not None
    assert answer.table.height == one.shape[1]
    for place, row in enumerate(answer.table.to_dicts()):
        want = slow.counts(one[:, place].tolist(), other[:, place].tolist(), E)
        assert {name: row[name] for name in ("slots", "shared", "differing")} == {
            name: want[name] for name in ("slots", "shared", "differing")
        }
        assert row["tokens"] == len(one)


def test_engine_against_engine_is_compared_token_by_token(tmp_path: Path, bring: Importer, opened) -> None:
    bring(vllm_file(tmp_path / "vllm.jsonl", ROUTES), "vllm")
    bring(sglang_file(tmp_path / "sglang.jsonl", CHANGED), "sglang", num_layers=L, top_k=K)
    store, runs = opened()
    rows = kept_rows()
    answer = compared(store, runs, "vllm", "sglang")
    check_counts(answer, ROUTES[rows], CHANGED[rows])
    assert isinstance(answer, Panel)
    assert "vllm" in answer.finding
    assert "update" not in answer.finding


def test_rollout_against_training_leaves_out_tokens_without_a_row(
    tmp_path: Path, bring: Importer, opened
) -> None:
    bring(sglang_file(tmp_path / "rollout.jsonl", ROUTES), "rollout", num_layers=L, top_k=K)
    bring(trainer_file(tmp_path / "c4_results.jsonl", CHANGED), "training")
    store, runs = opened()
    rows = kept_rows()
    check_counts(compared(store, runs, "rollout", "training"), ROUTES[rows], CHANGED[rows])
    check_counts(compared(store, runs, "training", "rollout"), CHANGED[rows], ROUTES[rows])


def test_layers_that_are_numbered_after_dense_ones_are_found(tmp_path: Path, bring: Importer, opened) -> None:
    bring(vllm_file(tmp_path / "a.jsonl", ROUTES), "compact")
    bring(vllm_file(tmp_path / "b.jsonl", with_dense(ROUTES)), "whole")
    bring(vllm_file(tmp_path / "c.jsonl", with_dense(ROUTES, 8)), "far")
    store, runs = opened()
    assert list(runs["whole"].layers) == [3, 4, 5, 6]
    near = compared(store, runs, "compact", "whole")
    assert isinstance(near, Panel)
    assert sentence("agreement.shifted_numbers", shift=3) in near.finding
    far = compared(store, runs, "compact", "far")
    assert isinstance(far, Missing)
    assert sentence("agreement.shifted_numbers", shift=8) in far.reason
    bring(vllm_file(tmp_path / "d.jsonl", ROUTES), "named", layer_offset=3)
    store, runs = opened()
    check_counts(compared(store, runs, "named", "whole"), ROUTES[kept_rows()], ROUTES[kept_rows()])


def test_traces_without_token_ids_are_matched_by_place_if_their_files_are_alike(
    tmp_path: Path, bring: Importer, opened
) -> None:
    bring(vllm_file(tmp_path / "a.jsonl", ROUTES, None), "a")
    bring(sglang_file(tmp_path / "b.jsonl", CHANGED, None), "b", num_layers=L, top_k=K)
    bring(sglang_file(tmp_path / "ids.jsonl", CHANGED), "named", num_layers=L, top_k=K)
    np.save(tmp_path / "c.npy", ROUTES.astype(np.int16))
    bring(tmp_path / "c.npy", "flat")
    store, runs = opened()
    rows = kept_rows()
    answer = compared(store, runs, "a", "b")
    check_counts(answer, ROUTES[rows], CHANGED[rows])
    assert isinstance(answer, Panel)
    assert sentence("agreement.by_place", layout="57 rows in 3 sequences") in answer.finding
    other = compared(store, runs, "a", "flat")
    assert isinstance(other, Missing)
    assert (
        sentence("agreement.other_layout", first="57 rows in 3 sequences", second="60 rows in 1 sequence")
        in other.reason
    )
    unnamed = compared(store, runs, "a", "named")
    assert isinstance(unnamed, Missing)
    assert sentence("agreement.unnamed") in unnamed.reason


def test_traces_of_other_tokens_are_not_compared(tmp_path: Path, bring: Importer, opened) -> None:
    other_ids = IDS.copy()
    other_ids[25] += 1
    bring(vllm_file(tmp_path / "a.jsonl", ROUTES), "a")
    bring(vllm_file(tmp_path / "b.jsonl", ROUTES, other_ids), "b")
    store, runs = opened()
    answer = compared(store, runs, "a", "b")
    assert isinstance(answer, Missing)
    assert answer.reason == sentence("agreement.other_tokens")


def test_an_imported_trace_is_compared_with_a_run_of_ours(tmp_path: Path, bring: Importer, opened) -> None:
    tokens = LENGTH * len(DOMAINS)
    write_probe_run(tmp_path / "runs", "ours", steps=4, probes=(4,), bias=False)
    own = probe_record(4, None, 2, E, K).selected_experts_PLK
    other = own.copy()
    other[1, 0] = [e for e in range(E) if e not in own[1, 0]][:K]
    np.save(tmp_path / "engine.npy", other.astype(np.int16))
    run = bring(tmp_path / "engine.npy", "engine", tokens_of=tmp_path / "runs" / "ours")
    assert (
        RunFolder(run.path).document("probe")["tokens"]
        == RunFolder(tmp_path / "runs" / "ours").document("probe")["tokens"]
    )
    store, runs = opened()
    check_counts(compared(store, runs, "engine", "ours", step=4), other, own)
    np.save(tmp_path / "short.npy", other[:-1].astype(np.int16))
    with pytest.raises(ForeignFileError, match=pattern("agreement.other_number", rows=tokens - 1)):
        bring(tmp_path / "short.npy", "short", tokens_of=tmp_path / "runs" / "ours")


def test_the_first_tokens_are_kept_and_the_report_says_how_many(tmp_path: Path, bring: Importer) -> None:
    routes = made_routes(2, tokens=300)
    warm_up = np.tile(np.arange(K), (40, L, 1))
    np.save(tmp_path / "routes.npy", np.concatenate([warm_up, routes]).astype(np.int16))
    run = bring(tmp_path / "routes.npy", "cut", routes=100)
    rows = RunFolder(run.path).read("probe_scores").sort("token", "layer")
    kept = np.stack(rows["selected_experts"].to_list()).reshape(-1, L, K)
    np.testing.assert_array_equal(kept, routes[:100])
    assert rows["router_logits"].null_count() == len(rows)
    assert entry(run, "routes_kept")["counts"] == {"tokens": 100, "of": 300}
    assert RunFolder(run.path).document("probe")["positions"] == list(range(100))
    none = bring(tmp_path / "routes.npy", "none", routes=0)
    assert not (none.path / "probe.json").exists()


def test_a_token_without_a_route_in_some_layer_is_left_out(tmp_path: Path, bring: Importer) -> None:
    routes = made_routes(3)
    routes[[4, 7], [0, 2]] = -1
    np.save(tmp_path / "routes.npy", routes.astype(np.int16))
    run = bring(tmp_path / "routes.npy", "holes")
    positions = RunFolder(run.path).document("probe")["positions"]
    assert positions == [t for t in range(T) if t not in (4, 7)]
    rows = RunFolder(run.path).read("probe_scores").sort("token", "layer")
    kept = np.stack(rows["selected_experts"].to_list()).reshape(-1, L, K)
    np.testing.assert_array_equal(kept, routes[positions])


@pytest.mark.parametrize("ids", [None, IDS])
def test_the_microscope_opens_a_trace_of_routes(ids, tmp_path: Path, bring: Importer, opened) -> None:
    bring(vllm_file(tmp_path / "a.jsonl", ROUTES, ids), "a")
    store, runs = opened()
    view = microscope.open_view(store, list(runs.values()), {"token": ("7",), "expert": ("3",)})
    answers = {one.key: one.build(store, one.arms, one.settings) for one in view.questions}
    assert not view.notices
    score = answers["microscope_token"]
    assert isinstance(score, Missing)
    assert score.reason == sentence("microscope.unscored")
    replay = answers["microscope_replay_imbalance"]
    assert isinstance(replay, Missing)
    assert sentence("counterfactual.routes_only") in replay.reason
    company = answers["microscope_company"]
    assert isinstance(company, Panel)
    assert company.table is not None
    with_third = ROUTES[kept_rows(), 0]
    with_third = with_third[(with_third == 3).any(axis=1)]
    counts = {f"expert {e}": int((with_third == e).any(axis=1).sum()) for e in range(E) if e != 3}
    assert {row["name"]: row["tokens"] for row in company.table.to_dicts()} == counts
    texts = answers["microscope_texts"]
    assert isinstance(texts, Missing if ids is None else Panel)


def test_a_real_log_agrees_with_itself_without_its_warm_up(tmp_path: Path, bring: Importer, opened) -> None:
    """vLLM's log of OLMoE starts with 2,048 rows of the engine's profile run; the array lacks them."""
    path = real("vllm_olmoe_moe_routes.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    routes = np.array([line["topk_ids"] for line in lines if line["type"] == "route"])[2048:]
    log = import_path(path, tmp_path / "runs", options={"num_experts": "64", "run_id": "log"})[0]
    assert entry(log, "routes_kept")["counts"] == {"tokens": 2048, "of": 4471}
    changed = routes.copy()
    changed[10, 0] = next(e for e in range(64) if e not in routes[10])
    np.save(tmp_path / "text.npy", changed[:, None].astype(np.int16))
    import_path(tmp_path / "text.npy", tmp_path / "runs", options={"num_experts": "64", "run_id": "text"})
    store, runs = opened()
    answer = compared(store, runs, "log", "text")
    assert isinstance(answer, Panel)
    assert answer.table is not None
    row = answer.table.row(0, named=True)
    assert (row["tokens"], row["slots"], row["shared"], row["differing"]) == (2048, 16384, 16383, 1)
