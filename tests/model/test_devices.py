"""Devices without a GPU: who refuses what, whose clock counts, and what a checkpoint of a GPU needs."""

import time
from collections import deque

import pytest
import torch
from sentences import pattern
from tiny import make_tiny_config, make_tiny_corpus

from benchmarks.host_waits import has_grouped_kernel
from explorer.config.run import RunConfig
from explorer.config.strategies import STRATEGIES
from explorer.errors import TrainingError
from explorer.model import build_model
from explorer.model.balancers import CombinedBalancer
from explorer.model.experts import Experts, grouped_fits
from explorer.model.leak import _pass as choices_and_logits
from explorer.model.router import ForwardContext
from explorer.records.records import MemoryRecorder, StepRecord
from explorer.training import checkpoints, train
from explorer.training.devices import StepClock, pick_device
from explorer.training.loop import make_optimizer
from explorer.training.step import train_step
from explorer.training.step_log import DeviceLog, StepLog


def has_gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)


def test_auto_without_a_gpu_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    has_gpus(monkeypatch, 0)
    assert pick_device("auto") == pick_device("cpu") == torch.device("cpu")


def test_an_absent_gpu_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    has_gpus(monkeypatch, 0)
    with pytest.raises(TrainingError, match=r"training\.device = 'cuda': " + pattern("model.no_cuda")):
        pick_device("cuda")
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    with pytest.raises(TrainingError, match=pattern("model.cpu_build")):
        pick_device("cuda")


@pytest.mark.parametrize("name", ["cuda", "auto"])
def test_a_gpu_that_does_not_compute_is_refused_not_replaced(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    has_gpus(monkeypatch, 1)

    def broken(*size: int, device: torch.device) -> torch.Tensor:
        raise RuntimeError("no kernel image is available for execution\nCompile with …")

    monkeypatch.setattr(torch, "zeros", broken)
    with pytest.raises(
        TrainingError,
        match=pattern(
            "model.gpu_does_not_compute", device="cuda:0", error="no kernel image is available for ex"
        ),
    ):
        pick_device(name)


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    has_gpus(monkeypatch, 2)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(TrainingError, match=pattern("model.gpu_for_process", rank=2, gpus=2)):
        pick_device("auto")


class QueuedEvent:
    """An event of a device that takes 2 s for what the host queues at once."""

    now = 0.0

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        self.at = QueuedEvent.now
        QueuedEvent.now += 2000.0

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, other: "QueuedEvent") -> float:
        return other.at - self.at


def test_a_gpu_step_is_timed_by_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "Event", QueuedEvent)
    began = time.perf_counter()
    seconds = StepClock(torch.device("cuda", 0)).start()()()
    assert seconds == 2.0
    assert time.perf_counter() - began < seconds


def test_wall_times_are_added_up_when_steps_are_fetched() -> None:
    recorder = MemoryRecorder()
    log = DeviceLog(recorder, torch.device("cpu"))
    log.interval_s = 3600.0
    timed_steps = []

    def duration(step: int) -> float:
        timed_steps.append(step)
        return 0.5 + step

    for step in range(3):
        nothing = torch.zeros(0, 4, dtype=torch.int64)
        log.add(
            StepLog(
                step=step,
                tokens_seen=step + 1,
                learning_rate=1e-3,
                bias_update_rate=None,
                scalars={"lm_loss": torch.tensor(1.0), "grad_norm": torch.tensor(1.0)},
                layers={"tokens": nothing, "nonfinite_logits": nothing},
                sequences=[],
                duration=lambda step=step: duration(step),
            ),
            deque(),
        )
        assert not timed_steps, "asking for a duration waits for the device"
    log.drain_into(deque())
    assert [r.wall_time_s for r in recorder.of(StepRecord)] == [0.5, 2.0, 4.5]
    assert log.seconds == 4.5


def test_a_run_that_goes_on_adds_to_its_wall_time(tmp_path) -> None:
    config = make_tiny_config("loss_free", num_steps=4, probe_tokens=0)
    corpus = make_tiny_corpus()
    steps = []
    train(
        config,
        MemoryRecorder(),
        should_stop=lambda: len(steps) == 2,
        corpus=corpus,
        checkpoint_dir=tmp_path,
        on_step=lambda done, total: steps.append(done),
    )
    before = checkpoints.load(tmp_path, 2, torch.device("cpu"))["seconds"]
    result = train(config, MemoryRecorder(), corpus=corpus, checkpoint_dir=tmp_path, resume_from=2)
    assert 0 < before < result.wall_time_s


def stepped(config: RunConfig) -> None:
    """One optimizer step."""
    corpus = make_tiny_corpus()
    model = build_model(config.model, corpus.vocab_size, config.training.sequence_length, 0)
    balancer = CombinedBalancer(config.balancer.rules)
    model.reset_bias(balancer.neutral_bias)
    train_step(model, make_optimizer(model, config), balancer, config, corpus, 0, 1e-3)


@pytest.mark.parametrize("name", ["router noise", "noisy top-K", "random second expert", "random", "dense"])
def test_a_step_draws_nothing_from_a_generator_that_a_checkpoint_would_have_to_keep(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    seeded = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    before = torch.get_rng_state()
    stepped(STRATEGIES[name].config(make_tiny_config()))
    assert torch.equal(before, torch.get_rng_state())
    assert not seeded, "the generators of GPUs belong to the caller"


def test_a_checkpoint_of_a_gpu_is_read_on_a_cpu(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        # What a storage on a GPU writes beside its bytes.
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        checkpoints.save(tmp_path, 3, {"bias": torch.tensor([1.0, -2.0])})
    path = tmp_path / "step-00000003.pt"
    with pytest.raises(RuntimeError, match="CUDA"):
        torch.load(path, weights_only=True)
    bias = checkpoints.load(tmp_path, 3, torch.device("cpu"))["bias"]
    assert bias.device.type == "cpu"
    assert bias.tolist() == [1.0, -2.0]


def test_the_choices_of_a_dense_model_are_compared_on_its_own_device() -> None:
    config = STRATEGIES["dense"].config(make_tiny_config())
    model = build_model(config.model, 256, 16, 0).to("meta")
    tokens_BS = torch.zeros(2, 16, dtype=torch.int64, device="meta")
    sets_BSX, logits_BSV = choices_and_logits(model, tokens_BS, CombinedBalancer([]), ForwardContext())
    assert sets_BSX.device == logits_BSV.device == torch.device("meta")


@pytest.mark.parametrize(("capability", "fits"), [((7, 5), False), ((8, 0), True), ((12, 0), True)])
def test_a_gpu_that_grouped_products_refuse_takes_the_loop(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], fits: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    experts = Experts(4, 16, 8, 0.02, "auto")

    class OnGpu:
        device = torch.device("cuda", 0)
        dtype = torch.float32

    assert grouped_fits(experts.gate_up_EDF2, experts.down_EFD, OnGpu()) == fits
    assert has_grouped_kernel(OnGpu.device) == (capability[0] in (9, 10))
