"""A LightningModule around the tiny model of `tiny_trainer`."""

from typing import Any

import torch
from lightning.pytorch import LightningModule
from tiny_trainer import tiny_model

QUIET: dict[str, Any] = {
    "accelerator": "cpu", "devices": 1, "logger": False, "enable_checkpointing": False,
    "enable_progress_bar": False, "enable_model_summary": False,
}  # fmt: skip
"""Arguments of `Trainer` that keep it to the training itself."""


class TinyModule(LightningModule):
    """Language modelling with AdamW; `fail_at`: the batch at which the training breaks."""

    def __init__(self, fail_at: int | None = None) -> None:
        super().__init__()
        self.model = tiny_model()
        self.fail_at = fail_at
        self.losses: list[float] = []

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> torch.Tensor:
        if batch_idx == self.fail_at:
            raise ValueError("broken batch")
        loss: torch.Tensor = self.model(**batch).loss
        self.losses.append(float(loss.detach()))
        return loss

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> torch.Tensor:
        loss: torch.Tensor = self.model(**batch).loss
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def make_module(fail_at: int | None = None) -> TinyModule:
    torch.manual_seed(5)
    return TinyModule(fail_at)
