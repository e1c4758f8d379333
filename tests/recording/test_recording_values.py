"""What a training loop hands over is kept as it was at that moment, or refused with its field and step."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recording_runs import E, L, give, make_info, steps_of
from sentences import pattern, sentence

from explorer.errors import RunFolderError
from explorer.recording import RunFolder
from explorer.recording.checks import checked
from explorer.recording.run_writer import RunWriter
from explorer.records.records import (
    EvalRecord,
    EventRecord,
    LayerRecord,
    LoadRecord,
    RankLoadRecord,
    Record,
    SequenceLoadRecord,
    StepRecord,
)

pytestmark = pytest.mark.usefixtures("flush_only_when_told")


def step_record(**fields: Any) -> StepRecord:
    return StepRecord(**{"step": 0, "tokens_seen": 8, "lm_loss": 1.0} | fields)


ONES = np.ones((L, E), dtype=int)
LAYOUT = make_info().layout


NUMBERS: dict[str, Any] = {
    "int": 3,
    "float": 3.0,
    "numpy float32": np.float32(3),
    "numpy longdouble": np.longdouble(3),
    "numpy int8": np.int8(3),
    "0-d array": np.array(3.0),
    "one element": np.array([3.0]),
    "0-d tensor": torch.tensor(3.0),
    "tensor of one element": torch.tensor([3]),
    "bfloat16": torch.tensor(3.0, dtype=torch.bfloat16),
    "float16": torch.tensor(3.0, dtype=torch.float16),
    "with a graph": torch.tensor(3.0, requires_grad=True) * 1,
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_a_number_of_any_kind_is_that_number(kind: str) -> None:
    value = NUMBERS[kind]
    kept = checked(step_record(tokens_seen=value, lm_loss=value, grad_norm=value), LAYOUT)
    assert (kept.tokens_seen, kept.lm_loss, kept.grad_norm, kept.aux_loss) == (3, 3.0, 3.0, None)
    assert [type(kept.tokens_seen), type(kept.lm_loss)] == [int, float]


def test_a_scalar_buffer_that_the_loop_reuses_is_copied(recorder: RunWriter) -> None:
    loss, norm, seen = torch.zeros(()), np.zeros(()), torch.zeros((), dtype=torch.int64)
    for step in range(4):
        loss.fill_(10.0 - step)
        norm[...] = step
        seen.fill_(step)
        recorder.record(StepRecord(step=step, tokens_seen=seen, lm_loss=loss, grad_norm=norm))
        recorder.step_done(step)
    recorder.flush()
    rows = RunFolder(recorder.path).read("steps").sort("step")
    assert rows.select("tokens_seen", "lm_loss", "grad_norm").rows() == [
        (step, 10.0 - step, float(step)) for step in range(4)
    ]


def test_nothing_of_a_kept_record_is_the_callers(recorder: RunWriter) -> None:
    names = ["a", "b"]
    counts = np.ones((2, L, E), dtype=np.int64)
    recorder.record(
        SequenceLoadRecord(step=0, split="train", micro_batch=0, domains_B=names, tokens_BLE=counts)
    )
    names[0] = "changed"
    counts += 1
    recorder.step_done(0)
    recorder.flush()
    table = RunFolder(recorder.path).read("sequence_loads")
    assert (set(table["domain"]), set(table["tokens"])) == ({"a", "b"}, {1})


COUNTS: dict[str, Any] = {
    "int64 tensor": torch.arange(L * E).reshape(L, E),
    "int32 tensor": torch.arange(L * E, dtype=torch.int32).reshape(L, E),
    "float32 tensor": torch.arange(L * E, dtype=torch.float32).reshape(L, E),
    "bfloat16 tensor": torch.arange(L * E).reshape(L, E).bfloat16(),
    "with a graph": torch.arange(L * E).reshape(L, E).float().requires_grad_(),
    "uint8 array": np.arange(L * E, dtype=np.uint8).reshape(L, E),
    "float64 array": np.arange(L * E, dtype=np.float64).reshape(L, E),
    "lists": np.arange(L * E).reshape(L, E).tolist(),
    "a list of tensors": list(torch.arange(L * E).reshape(L, E)),
    "a list of bfloat16 tensors": list(torch.arange(L * E).reshape(L, E).bfloat16()),
    "a list of lists of tensors": [list(row) for row in torch.arange(L * E).reshape(L, E)],
    "not contiguous": np.asfortranarray(np.arange(L * E).reshape(L, E)),
}


@pytest.mark.parametrize("kind", COUNTS)
def test_counts_of_any_kind_are_those_counts(kind: str) -> None:
    kept = checked(LoadRecord(step=0, tokens_LE=COUNTS[kind]), LAYOUT).tokens_LE
    assert (kept.tolist(), kept.dtype) == (np.arange(L * E).reshape(L, E).tolist(), np.int64)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_a_bias_of_any_precision_is_kept(dtype: torch.dtype) -> None:
    bias = torch.linspace(-1, 1, L * E, dtype=dtype, requires_grad=True).reshape(L, E)
    kept = checked(LoadRecord(step=0, tokens_LE=ONES, expert_bias_LE=bias), LAYOUT).expert_bias_LE
    assert (kept.tolist(), kept.dtype) == (bias.detach().float().tolist(), np.float32)


def test_not_a_number_and_infinity_are_values() -> None:
    bias = np.array([[np.inf, -np.inf, 0, 1]] * L)
    kept = checked(LoadRecord(step=0, tokens_LE=ONES, expert_bias_LE=bias), LAYOUT)
    assert kept.expert_bias_LE.tolist() == bias.tolist()
    assert np.isnan(checked(step_record(lm_loss=torch.tensor(float("nan"))), LAYOUT).lm_loss)


class OnADevice:
    """What a tensor of another device looks like to somebody who knows no tensor library."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor
        self.dtype, self.shape = tensor.dtype, tensor.shape

    def __array__(self, *_: object, **__: object) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    def detach(self) -> "OnADevice":
        return self

    def cpu(self) -> torch.Tensor:
        return self.tensor

    def item(self) -> Any:
        return self.tensor.item()


def test_a_tensor_on_a_device_is_fetched() -> None:
    counts = OnADevice(torch.full((L, E), 7))
    assert checked(LoadRecord(step=0, tokens_LE=counts), LAYOUT).tokens_LE.tolist() == [[7] * E] * L
    assert checked(step_record(lm_loss=OnADevice(torch.tensor(2.5))), LAYOUT).lm_loss == 2.5


BROKEN: dict[str, tuple[Record, str]] = {
    "text": (
        step_record(lm_loss="low"),
        "StepRecord.lm_loss of step 0 = 'low': " + pattern("recording.one_number_not") + " str",
    ),
    "nothing": (
        step_record(tokens_seen=None),
        "tokens_seen of step 0 = None: " + pattern("errors.one_number"),
    ),
    "truth": (
        step_record(grad_norm=True),
        "grad_norm of step 0 = True: " + pattern("errors.number_not_truth_value"),
    ),
    "numpy truth": (step_record(tokens_seen=np.True_), "tokens_seen .*" + pattern("errors.not_truth_value")),
    "several": (
        step_record(lm_loss=torch.ones(2)),
        pattern("recording.not_tensor_of", kind="float32") + r" \(2,\)",
    ),
    "complex": (step_record(lm_loss=1j), pattern("recording.one_number_not_cut") + " complex"),
    "too large": (
        step_record(lm_loss=10**400),
        "lm_loss of step 0 = .*" + pattern("errors.range_of") + " float64",
    ),
    "a fraction": (
        step_record(tokens_seen=8.5),
        "tokens_seen of step 0 = 8.5: " + pattern("errors.whole_number"),
    ),
    "not a number": (
        step_record(tokens_seen=float("nan")),
        "tokens_seen .*" + pattern("errors.whole_number"),
    ),
    "negative": (
        step_record(tokens_seen=-8),
        "tokens_seen of step 0 = -8: " + pattern("errors.whole_number_from") + " 0",
    ),
    "beyond int64": (step_record(tokens_seen=2**63), "tokens_seen .*from 0 to 9223372036854775807"),
    "rounded": (
        step_record(tokens_seen=np.float32(2**25)),
        pattern("recording.rounded", kind="float32", exact="16,777,216") + " .*torch.int64",
    ),
    "step": (step_record(step=None), "StepRecord.step = None: " + pattern("errors.one_number")),
    "step of text": (step_record(step="3"), "StepRecord.step = '3'"),
    "detail": (
        EventRecord(step=0, kind="x", detail={"a": 1}),
        "detail of step 0 = {'a': 1}: " + pattern("errors.text"),
    ),  # type: ignore[arg-type]
    "half a letter": (EventRecord(step=0, kind="\ud800"), "kind of step 0 = .*UTF-8"),
    "domain": (
        EvalRecord(step=0, split="held_out", domain=3, lm_loss=1.0, num_tokens=1, num_bytes=1),  # type: ignore[arg-type]
        "EvalRecord.domain of step 0 = 3: " + pattern("errors.text"),
    ),
    "micro-batch": (
        SequenceLoadRecord(step=0, split="train", micro_batch=2**31, domains_B=["a"], tokens_BLE=ONES[None]),
        "micro_batch of step 0 = 2147483648: "
        + pattern("errors.whole_number_between", low=0, high=2147483647),
    ),
    "names": (
        SequenceLoadRecord(step=0, split="train", micro_batch=0, domains_B="a", tokens_BLE=ONES[None]),  # type: ignore[arg-type]
        "domains_B of step 0 = 'a': " + pattern("recording.one_name_per_sequence", sequences=1),
    ),
    "num_layers": (LayerRecord(step=0, num_layers="two"), "num_layers of step 0 = 'two'"),  # type: ignore[arg-type]
    "ragged": (
        LoadRecord(step=0, tokens_LE=[[1, 2, 3, 4], [1, 2]]),
        r"\(2,\) and \(4,\), or .*experts_per_layer",
    ),  # type: ignore[arg-type]
    "a hole": (
        LoadRecord(step=0, tokens_LE=[[1, 2, 3, None], [1, 2, 3, 4]]),
        "numbers, not NoneType",
    ),  # type: ignore[arg-type]
    "no counts": (
        LoadRecord(step=0, tokens_LE=None),
        "tokens_LE of step 0 = None: " + pattern("recording.numbers"),
    ),  # type: ignore[arg-type]
    "no data": (
        LoadRecord(step=0, tokens_LE=torch.ones((L, E), device="meta")),
        "tokens_LE of step 0 = .*" + pattern("recording.numbers_not") + " Tensor of type float32",
    ),
    "fractions": (
        LoadRecord(step=0, tokens_LE=torch.full((L, E), 0.5)),
        r"0.5 at \[0, 0\]: " + pattern("recording.integers"),
    ),
    "NaN": (
        LoadRecord(step=0, tokens_LE=np.full((L, E), np.nan)),
        r"nan at \[0, 0\]: " + pattern("recording.integers"),
    ),
    "rounded counts": (
        LoadRecord(step=0, tokens_LE=torch.full((L, E), 512).bfloat16()),
        r"512.0 at \[0, 0\]: " + pattern("recording.integers_rounded", kind="bfloat16", exact=256),
    ),
    "an overflow": (
        LoadRecord(step=0, tokens_LE=ONES, expert_bias_LE=np.full((L, E), 1e39)),
        r"expert_bias_LE of step 0 = 1e\+39 at \[0, 0\]: " + pattern("errors.in_range_of") + " float32",
    ),
    "truths": (
        LoadRecord(step=0, tokens_LE=ONES > 0),
        pattern("recording.numbers_not") + " ndarray of type bool",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.filterwarnings("error")
def test_a_value_that_cannot_be_kept_is_named(name: str) -> None:
    record, says = BROKEN[name]
    with pytest.raises(RunFolderError, match=says) as caught:
        checked(record, LAYOUT)
    assert str(caught.value).endswith(sentence("recording.correct_what_is_recorded"))


def test_refused_records_cost_nothing_else(recorder: RunWriter) -> None:
    for step, (record, _) in enumerate(BROKEN.values()):
        with pytest.raises(RunFolderError):
            recorder.record(record)
        give(recorder, step)
    recorder.finish("finished")
    assert steps_of(recorder.path) == list(range(len(BROKEN)))
    assert steps_of(recorder.path, "events") == []


def test_the_loop_ends_with_the_reason_and_every_good_step(tmp_path: Path) -> None:
    def train() -> None:
        with RunWriter.create(tmp_path, make_info()) as recorder:
            for step in range(9):
                seen = 8 * step if step < 6 else 8 * step / 3 + 0.25
                recorder.record(StepRecord(step=step, tokens_seen=seen, lm_loss=1.0))
                recorder.step_done(step)

    with pytest.raises(
        RunFolderError, match="tokens_seen of step 6 = 16.25: " + pattern("errors.whole_number")
    ):
        train()
    status = RunFolder(tmp_path / "run").status
    assert (steps_of(tmp_path / "run"), status.state) == ([0, 1, 2, 3, 4, 5], "failed")
    assert "tokens_seen of step 6" in status.message


@pytest.mark.parametrize("step", [1.0, np.int32(1), torch.tensor(1)])
def test_a_step_of_any_kind_can_be_done(recorder: RunWriter, step: Any) -> None:
    recorder.record(step_record(step=step))
    recorder.step_done(step)
    recorder.flush()
    assert (steps_of(recorder.path), RunFolder(recorder.path).last_step) == ([1], 1)
    with pytest.raises(RunFolderError, match="step = 1.5: " + pattern("errors.whole_number")):
        recorder.step_done(1.5)  # type: ignore[arg-type]


def test_the_number_of_ranks_may_change(recorder: RunWriter) -> None:
    for step, ranks in enumerate((2, 3)):
        recorder.record(RankLoadRecord(step=step, tokens_RLE=np.full((ranks, L, E), step)))
        recorder.step_done(step)
    recorder.flush()
    table = RunFolder(recorder.path).read("rank_loads")
    assert table.group_by("step").len().sort("step").rows() == [(0, 2 * L * E), (1, 3 * L * E)]
    assert table.filter(step=1)["rank"].max() == 2


def test_documents_and_results_hold_numbers_of_any_kind(recorder: RunWriter) -> None:
    figure = torch.tensor([0.5, float("inf")], requires_grad=True)
    results = {"loss": figure, "name": "half \ud800"}
    recorder.set_results(results)
    with torch.no_grad():
        figure.zero_()
    with pytest.raises(RunFolderError, match="object " + pattern("errors.not_json")):
        recorder.set_results({"thing": object()})
    with pytest.raises(RunFolderError, match="set " + pattern("errors.not_json")):
        recorder.save_json("mine", {1, 2})
    recorder.finish("finished", "ended \ud800")
    status = RunFolder(recorder.path).status
    assert (status.results, status.message) == ({"loss": [0.5, None], "name": "half ?"}, "ended ?")
