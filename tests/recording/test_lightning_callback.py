"""The callback for Lightning's `Trainer`, on a tiny model of its own."""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from explorer.errors import RunFolderError
from explorer.recording import RunFolder, lightning_callback

# Lightning warns of its own use of torch, of data loaders without workers, and of missing loggers.
pytestmark = pytest.mark.filterwarnings("ignore")


def test_without_lightning_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("lightning.pytorch", "pytorch_lightning"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(RunFolderError, match="install one of them"):
        lightning_callback("runs")


def train(folder: Path, **options: Any) -> tuple[RunFolder, Any]:
    """Six steps of two micro-batches, with validation in between."""
    pytest.importorskip("lightning")
    pytest.importorskip("transformers")
    from lightning.pytorch import Trainer
    from tiny_lightning import QUIET, make_module
    from tiny_trainer import ACCUMULATED, STEPS, B, Texts
    from torch.utils.data import DataLoader

    module = make_module(**options)
    callback = lightning_callback(folder, run_id="tiny", config={"note": "tiny"})
    trainer = Trainer(
        max_steps=STEPS, accumulate_grad_batches=ACCUMULATED, val_check_interval=4, callbacks=[callback],
        **QUIET,
    )  # fmt: skip
    batches = DataLoader(Texts(), batch_size=B)
    breaks = pytest.raises(ValueError, match="broken batch") if options else nullcontext()
    with breaks:
        trainer.fit(module, batches, DataLoader(Texts(), batch_size=B))
    return RunFolder(folder / "tiny"), module


def test_every_step_has_its_counts_without_padding_and_validation(tmp_path: Path) -> None:
    folder, module = train(tmp_path)
    from tiny_trainer import ACCUMULATED, STEPS, B, E, K, L, S

    info = folder.info
    assert folder.status.state == "finished"
    assert (info.num_moe_layers, info.num_experts, info.top_k, info.num_steps) == (L, E, K, STEPS)
    counts = folder.read("expert_loads").sort("step", "layer", "expert")["tokens"].to_numpy()
    per_step = counts.reshape(STEPS, L, E).sum(-1)
    texts = range(STEPS * ACCUMULATED * B)
    of_step = [
        sum(K * (S - index % 4) for index in texts if index // (ACCUMULATED * B) == step)
        for step in range(STEPS)
    ]
    assert per_step.tolist() == [[one, one] for one in of_step]
    steps = folder.read("steps").sort("step")
    assert steps["step"].to_list() == list(range(STEPS))
    means = [sum(pair) / 2 for pair in zip(module.losses[::2], module.losses[1::2], strict=True)]
    assert steps["lm_loss"].to_list() == pytest.approx(means, rel=1e-5)
    assert steps["learning_rate"].to_list() == [pytest.approx(1e-3)] * STEPS


def test_a_training_that_breaks_leaves_a_failed_run_with_its_steps(tmp_path: Path) -> None:
    folder, _ = train(tmp_path, fail_at=5)
    assert (folder.status.state, folder.status.message) == ("failed", "ValueError: broken batch")
    assert folder.read("steps")["step"].to_list() == [0, 1]
