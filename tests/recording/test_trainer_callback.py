"""The callback for transformers' `Trainer`, on a tiny model of its own."""

from pathlib import Path

import numpy as np
import pytest

from explorer.recording import RunFolder, trainer_callback

pytest.importorskip("accelerate")
transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

from tiny_trainer import ACCUMULATED, STEPS, B, E, K, L, S, Texts, settings, tiny_model  # noqa: E402


def trained(folder: Path) -> RunFolder:
    """With a log line every second step, and evaluations in between."""
    args = settings(folder, logging_steps=2, eval_strategy="steps", eval_steps=3)
    trainer = transformers.Trainer(
        model=tiny_model(),
        args=args,
        train_dataset=Texts(),
        eval_dataset=Texts(),
        callbacks=[trainer_callback(folder / "runs", run_id="olmoe", config={"note": "tiny"})],
    )
    trainer.train()
    return RunFolder(folder / "runs" / "olmoe")


def test_every_step_has_its_counts_without_padding_and_evaluation(tmp_path: Path) -> None:
    folder = trained(tmp_path)
    assert folder.status.state == "finished"
    info = folder.info
    assert (info.num_moe_layers, info.num_experts, info.top_k, info.seed) == (L, E, K, 5)
    assert (info.config["model_type"], info.config["note"]) == ("olmoe", "tiny")
    rows = folder.read("expert_loads").sort("step", "layer", "expert")
    counts = rows["tokens"].to_numpy().reshape(STEPS, L, E).sum(-1)
    assert (counts[:, 0] == counts[:, 1]).all()
    padding = sum(index % 4 for index in range(STEPS * ACCUMULATED * B))
    assert counts[:, 0].sum() == K * (STEPS * ACCUMULATED * B * S - padding)
    steps = folder.read("steps").sort("step")
    assert steps["step"].to_list() == list(range(STEPS))
    assert steps["lm_loss"].is_not_null().to_list() == [False, True] * (STEPS // 2)
    assert np.isfinite(steps["learning_rate"].drop_nulls().to_numpy()).all()


def test_a_model_without_routers_is_refused_when_the_training_begins(tmp_path: Path) -> None:
    callback = trainer_callback(tmp_path)
    with pytest.raises(Exception, match="no module that looks like a router"):
        callback.on_train_begin(None, None, None, model=torch.nn.Linear(2, 2))
    callback.on_step_end(None, None, None)
    callback.on_train_end(None, None, None)
    assert list(tmp_path.iterdir()) == []


def test_a_training_that_failed_ends_when_the_next_one_begins(tmp_path: Path) -> None:
    callback = trainer_callback(tmp_path, run_id="again", config={"note": "kept"}, report_every_s=None)
    state = transformers.TrainerState(max_steps=2, global_step=1)
    for _ in range(2):  # the first of them never comes to its end
        callback.on_train_begin(None, state, None, model=tiny_model())
        callback.on_step_end(None, state, None)
    assert RunFolder(tmp_path / "again").status.state == "failed"
    assert RunFolder(tmp_path / "again").info.config["note"] == "kept"
    callback.on_train_end(None, state, None)
    assert RunFolder(tmp_path / "again").status.state == "finished"
