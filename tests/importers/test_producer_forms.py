"""Files in the form of their producers' own code and tests, where no real file is public: Megatron's blocks
of multi-token prediction (MTP), and a route log that two starts of an engine append to.

Facts: in Megatron an MTP line has `mtp_idx` and a layer number of its own, which may be one of the decoder's;
its rows are as many as the decoder's in training, each of a later token, and fewer in decoding; a line may
name its tokens in `semantic_token_ids`. Patches of vLLM open their log for appending and write `meta` anew.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_files import E, K, L, counts_of, entries, entry, import_one, loads_of, random_routes, write_lines
from route_samples import route_records, trace_line

from explorer.errors import ForeignFileError
from explorer.importers import import_path
from explorer.recording import RunFolder


def with_mtp(tmp_path: Path, mtp_rows: int, **fields: Any) -> Any:
    """The import of a trace with an MTP block whose layer number is one of the decoder's."""
    routes = random_routes()
    lines = [trace_line(1, layer, routes[:, layer], **fields) for layer in range(L)]
    lines.append(trace_line(1, 1, routes[:mtp_rows, 0], block="mtp", mtp_idx=0))
    return import_one(write_lines(tmp_path / "router_trace_rank0.jsonl", lines), tmp_path, num_experts=E)


@pytest.mark.parametrize("mtp_rows", [1, len(random_routes())])
def test_an_mtp_block_is_a_layer_of_its_own_and_keeps_no_routes(tmp_path: Path, mtp_rows: int) -> None:
    routes = random_routes()
    run = with_mtp(tmp_path, mtp_rows)
    folder = RunFolder(run.path)
    assert folder.info.layer_numbers == (*range(L), L)
    np.testing.assert_array_equal(loads_of(run)[0, :L], counts_of(routes)[0])
    np.testing.assert_array_equal(loads_of(run)[0, L], counts_of(routes[:mtp_rows, :1])[0, 0])
    assert folder.read("probe_scores").is_empty()
    assert not entries(run, "routes_kept")
    assert entry(run, "mtp_blocks")["counts"]["layers"] == 1


def test_names_of_tokens_are_read_over(tmp_path: Path) -> None:
    routes = random_routes()
    names = [None, *(f"prefix:{n}" for n in range(1, len(routes)))]
    lines = [trace_line(1, layer, routes[:, layer], semantic_token_ids=names) for layer in range(L)]
    run = import_one(write_lines(tmp_path / "router_trace_rank0.jsonl", lines), tmp_path, num_experts=E)
    np.testing.assert_array_equal(loads_of(run), counts_of(routes))
    assert entries(run, "routes_kept")


def test_mtp_blocks_of_the_tokens_per_expert(tmp_path: Path) -> None:
    """The lines of Megatron's own test, in which two local experts are all."""
    lines = [
        {"iter": 100, "block": "decoder", "layer": 3, "tpe": [[10, 20], [30, 40]]},
        {"iter": 100, "block": "decoder", "layer": 7, "tpe": [[50, 60]]},
        {"iter": 100, "block": "mtp", "mtp_idx": 0, "layer": 1, "tpe": [[70, 80]]},
    ]
    run = import_one(write_lines(tmp_path / "rank0.jsonl", lines), tmp_path, num_experts=2)
    assert RunFolder(run.path).info.layer_numbers == (3, 7, 8)
    assert loads_of(run).tolist() == [[[40, 60], [50, 60], [70, 80]]]


def test_a_second_start_in_several_layers_is_a_run_of_its_own(tmp_path: Path) -> None:
    """Each start writes its meta line, a block of identical routes in every layer, then its own routes."""
    lines: list[Any] = []
    starts = [random_routes(seed, tokens=tokens) for seed, tokens in ((1, 40), (2, 30))]
    for own in starts:
        warm_up = np.broadcast_to(np.arange(K), (20, L, K))
        meta, *warm_up_lines = route_records(warm_up, layers_logged=list(range(L)))
        lines += [meta, *warm_up_lines, *route_records(own)[1:]]
    path = write_lines(tmp_path / "moe_routes.jsonl", lines)
    together = import_one(path, tmp_path, num_experts=E)
    np.testing.assert_array_equal(loads_of(together), counts_of(np.concatenate(starts)))
    options = {"num_experts": str(E), "split": "starts"}
    apart = import_path(path, tmp_path / "apart", options=options)
    assert len(apart) == 2
    for run, own in zip(apart, starts, strict=True):
        np.testing.assert_array_equal(loads_of(run), counts_of(own))
        assert RunFolder(run.path).read("probe_scores").is_empty()


def test_a_start_of_another_model_is_refused(tmp_path: Path) -> None:
    lines = [*route_records(random_routes(tokens=5)), *route_records(random_routes(1), model_id="other")]
    path = write_lines(tmp_path / "moe_routes.jsonl", lines)
    with pytest.raises(ForeignFileError, match=rf"line {2 + 5 * L}: .*a different model \(other"):
        import_one(path, tmp_path, num_experts=E)
