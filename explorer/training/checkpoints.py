"""Checkpoints: everything that a resumed run needs to go on bit for bit (same thread count)."""

import os
from pathlib import Path
from typing import Any

import torch

from explorer.errors import TrainingError

KEPT = 2


def save(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write the state after `step` updates; the newest two are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{step:08d}.pt"
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    for old in sorted(folder.glob("step-*.pt"))[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def latest_step(folder: Path) -> int | None:
    """Number of updates in the newest checkpoint, or None."""
    steps = [int(path.stem.removeprefix("step-")) for path in folder.glob("step-*.pt")]
    return max(steps, default=None)


def load(folder: Path, step: int, device: torch.device) -> dict[str, Any]:
    """Read a checkpoint back; a damaged one is refused by name."""
    path = folder / f"step-{step:08d}.pt"
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        raise TrainingError(
            f"{path}: this checkpoint cannot be read ({type(error).__name__}); "
            "delete it to resume from the one before."
        ) from error
    assert isinstance(state, dict)
    return state
