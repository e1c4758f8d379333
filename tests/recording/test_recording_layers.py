"""The model's own layer numbers and layers of different width: no expert is invented, no layer renamed."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from layered_runs import LAYERS, WIDTHS, layered_info, record_layered
from recording_runs import make_info
from sentences import pattern

from explorer.errors import RunFolderError
from explorer.recording import RunFolder, RunInfo
from explorer.recording.checks import checked
from explorer.recording.run_writer import RunWriter
from explorer.records.records import EventRecord, LoadRecord, ProbeRecord, RankLoadRecord, SequenceLoadRecord

LAYOUT = layered_info().layout
CELLS = [(layer, expert) for layer, width in zip(LAYERS, WIDTHS, strict=True) for expert in range(width)]


def test_every_table_has_the_models_layers_and_the_experts_that_are_there(tmp_path: Path) -> None:
    counts = record_layered(tmp_path, steps=4)
    run = RunFolder(tmp_path / "layered")
    table = run.read("expert_loads").sort("step", "layer", "expert")
    assert table.select("layer", "expert").rows() == CELLS * 4
    assert table["tokens"].to_list() == [n for step in range(4) for row in counts[step] for n in row.tolist()]
    for name in ("sequence_loads", "eval_loads"):
        assert run.read(name).select("layer", "expert").unique().sort("layer", "expert").rows() == CELLS, name
    assert run.read("sequence_loads")["tokens"].sum() == 4 * 2 * 3 * 64
    layers = run.read("layer_steps").filter(step=0).sort("layer")
    assert layers.select("layer", "score_margin").rows() == [(3, 0.0), (5, 1.0), (9, 2.0)]
    probe = run.read("probe_scores").sort("step", "token", "layer")
    assert probe["layer"].to_list() == list(LAYERS) * 12
    for column in ("router_logits", "expert_bias"):
        assert probe[column].list.len().to_list() == list(WIDTHS) * 12, column
    assert probe.select(pl.col("selected_experts").list.max()).to_series().max() < 8
    assert (run.info.layers, run.info.experts_per_layer) == (LAYERS, WIDTHS)


def test_a_padded_array_and_one_array_per_layer_are_the_same(tmp_path: Path) -> None:
    parts = [np.arange(width) + 10 * i for i, width in enumerate(WIDTHS)]
    padded = np.zeros((3, 8), dtype=np.int64)
    for i, part in enumerate(parts):
        padded[i, : len(part)] = part
    given = [
        checked(LoadRecord(step=0, tokens_LE=tokens), LAYOUT).tokens_LE.tolist()
        for tokens in (parts, padded, padded.astype(np.float32), [p.tolist() for p in parts], padded.tolist())
    ]
    assert given == [np.concatenate(parts).tolist()] * 5
    ranks = checked(RankLoadRecord(step=0, tokens_RLE=np.stack([padded, padded])), LAYOUT).tokens_RLE
    assert ranks.tolist() == [np.concatenate(parts).tolist()] * 2


def test_padding_of_floats_means_nothing() -> None:
    bias = np.full((3, 8), np.nan)
    bias[LAYOUT.is_there_LE] = 1.0
    tokens = [np.ones(w, int) for w in WIDTHS]
    kept = checked(LoadRecord(step=0, tokens_LE=tokens, expert_bias_LE=bias), LAYOUT)  # type: ignore[arg-type]
    assert kept.expert_bias_LE.tolist() == [1.0] * 20


@pytest.mark.parametrize(
    ("record", "says"),
    [
        (LoadRecord(step=0, tokens_LE=np.ones((3, 8), int)), pattern("recording.zero_beyond_experts")),
        (
            LoadRecord(step=0, tokens_LE=[np.ones(4, int)] * 3),
            r"\[4, 8, 8\] experts.*L = 3, E = 8\), not \(3, 4\)",
        ),  # type: ignore[arg-type]
        (
            LoadRecord(step=0, tokens_LE=[np.ones(4, int), np.ones(8, int)]),  # type: ignore[arg-type]
            pattern("recording.array_per_layer", experts="[4, 8, 8]"),
        ),
        (
            LoadRecord(step=0, tokens_LE=[np.ones(4, int), np.full(8, 2**61), np.ones(8, int)]),  # type: ignore[arg-type]
            f"step 0 = {2**64}: " + pattern("recording.layer_counts_most", layer=5, most=2**63 - 1),
        ),
        (
            EventRecord(step=0, kind="x", layer=-1),
            "layer of step 0 = -1: " + pattern("errors.whole_number_from") + " 0",
        ),
        (
            ProbeRecord(
                step=0,
                router_logits_PLE=np.zeros((1, 3, 8), np.float32),
                selected_experts_PLK=np.array([[[0, 5], [0, 5], [0, 5]]]),
            ),
            "selected_experts_PLK of step 0 = 5: " + pattern("recording.below_in_layer", experts=4, layer=3),
        ),
    ],
)
def test_what_no_layer_has_is_refused(record: Any, says: str) -> None:
    with pytest.raises(RunFolderError, match=says):
        checked(record, LAYOUT)


def test_an_event_may_name_any_layer_and_expert() -> None:
    event = EventRecord(step=0, kind="spike", layer=99, expert=99)
    assert checked(event, LAYOUT) == event


def test_counts_may_be_as_large_as_their_sum_allows() -> None:
    counts = np.full((2, 4), 2**61 - 1)
    layout = make_info().layout
    assert checked(LoadRecord(step=0, tokens_LE=counts), layout).tokens_LE.tolist() == counts.tolist()
    sequences = np.stack([counts, counts + 1])
    record = SequenceLoadRecord(
        step=0, split="train", micro_batch=0, domains_B=["a", "b"], tokens_BLE=sequences
    )
    with pytest.raises(
        RunFolderError, match="step 0 = 9223372036854775808: " + pattern("recording.layer_counts") + " 0"
    ):
        checked(record, layout)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"layers": (3, 5)}, r"layers = \[3, 5\]: " + pattern("recording.ascending_numbers", count=3)),
        ({"layers": (3, 5, 5)}, pattern("recording.different_numbers", count=3)),
        ({"layers": (9, 5, 3)}, pattern("recording.different_numbers", count=3)),
        ({"layers": (-1, 5, 9)}, r"layers = \(-1, 5, 9\): " + pattern("errors.must_lie_between") + " 0"),
        ({"layers": (3, 5, 2**31)}, pattern("recording.whole_numbers_up_to", most=2147483647)),
        ({"layers": 3}, "layers = 3: " + pattern("recording.list")),
        ({"layers": "3, 5, 9"}, "layers = '3, 5, 9': " + pattern("recording.numbers")),
        (
            {"experts_per_layer": (4, 8)},
            r"experts_per_layer = \[4, 8\]: " + pattern("recording.numbers_of_at_least", count=3, least=1),
        ),
        ({"experts_per_layer": (4, 0, 8)}, "at least 1"),
        ({"experts_per_layer": (4, 4, 4)}, pattern("recording.largest_num_experts", experts=8)),
        (
            {"top_k": 9},
            "top_k = 9: " + pattern("recording.at_most_num_experts", experts=8) + " .*",
        ),
        (
            {"num_experts": 2**20, "num_moe_layers": 10_000, "layers": None, "experts_per_layer": None},
            "num_experts = 1048576: "
            + pattern("recording.with_layers", layers=10000)
            + " .* "
            + pattern("recording.at_most_together", most=4194304),
        ),
        (
            {"num_experts": 2**31},
            "num_experts = 2147483648: " + pattern("errors.whole_number_between", low=0, high=1048576),
        ),
        ({"seed": 10**30}, "seed = 1000000000000000000000000000000: " + pattern("errors.whole_number")),
    ],
)
def test_a_description_that_does_not_fit_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(RunFolderError, match=says):
        layered_info(**fields)


def test_a_description_reads_back_and_an_older_one_counts_from_0() -> None:
    info = layered_info(layers=np.array(LAYERS), experts_per_layer=list(WIDTHS))
    assert RunInfo.from_dict(info.to_dict()) == info == layered_info()
    older = make_info().to_dict()
    del older["layers"], older["experts_per_layer"]
    info = RunInfo.from_dict(older)
    assert (info.layer_numbers, info.layer_widths, info.is_even) == ((0, 1), (4, 4), True)


def test_numbers_alone_leave_the_arrays_as_they_are(tmp_path: Path) -> None:
    info = layered_info(experts_per_layer=None)
    with RunWriter.create(tmp_path, info) as recorder:
        recorder.record(LoadRecord(step=0, tokens_LE=np.arange(24).reshape(3, 8)))
        recorder.step_done(0)
    table = RunFolder(tmp_path / "layered").read("expert_loads").sort("layer", "expert")
    assert table["tokens"].to_list() == list(range(24))
    assert table["layer"].unique(maintain_order=True).to_list() == list(LAYERS)
