"""The model of a finished run, kept for evaluation: its weights and selection biases, without optimizer."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from explorer.config.run import RunConfig
from explorer.errors import TrainingError
from explorer.files import replacing
from explorer.model import MoETransformer
from explorer.training.checkpoints import write_state

FILE = "model.pt"
"""Name of the file in a run folder."""


def save(path: Path, model: MoETransformer, config: RunConfig) -> None:
    """Atomically write the model after its last step. Raises TrainingError if the write fails."""
    state = {"config": json.dumps(config.to_dict()), "model": model.state_dict()}
    try:
        with replacing(path) as file:
            write_state(state, file)
    except OSError as error:
        raise TrainingError(
            f"{path}: the model cannot be written ({error.strerror or error}); make room on the disk or "
            "check the folder's permissions, then train the run again."
        ) from error


@dataclass(frozen=True, kw_only=True, eq=False)
class KeptModel:
    """The content of the file."""

    config: RunConfig
    """The run's final configuration, including rule changes requested while it trained."""
    state: dict[str, Tensor]
    """State dict of its `MoETransformer`."""


def load(path: Path, device: torch.device) -> KeptModel:
    """Read a kept model. Raises TrainingError that names a damaged file."""
    try:
        content: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        return KeptModel(config=RunConfig.from_dict(json.loads(content["config"])), state=content["model"])
    except Exception as error:
        raise TrainingError(
            f"{path}: this model cannot be read ({type(error).__name__}); delete it and train the run again."
        ) from error
