"""Checkpoints: everything that a resumed run needs to continue bit for bit (same thread count)."""

from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import torch

from explorer.errors import TrainingError
from explorer.files import TEMPORARY, replacing

MOST_CHECKPOINTS = 2


def save(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Atomically write the state after `step` updates; keep the newest two.

    Raises TrainingError if the write fails; older checkpoints then remain.
    """
    path = folder / f"step-{step:08d}.pt"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_unfinished(folder)
        with replacing(path) as file:
            write_state(state, file)
    except OSError as error:
        raise TrainingError(
            f"{path}: this checkpoint cannot be written ({error.strerror or error}); make room on the disk "
            f"or check the folder's permissions, then resume the run {_where_to_resume(folder)}."
        ) from error
    for old in sorted(folder.glob("step-*.pt"))[:-MOST_CHECKPOINTS]:
        with suppress(OSError):  # one that cannot be deleted only takes up space
            old.unlink()
    return path


def write_state(state: dict[str, Any], file: BinaryIO) -> None:
    """`torch.save`, with the OSError that torch wraps in its own error."""
    try:
        torch.save(state, file)
    except RuntimeError as error:
        refusal: BaseException | None = error
        while refusal is not None and not isinstance(refusal, OSError):
            refusal = refusal.__cause__ or refusal.__context__
        if refusal is None:
            raise
        raise refusal from error


def _remove_unfinished(folder: Path) -> None:
    """Delete the unfinished checkpoint of a killed process; only one process writes here."""
    for path in folder.glob(f"step-*{TEMPORARY}"):
        path.unlink(missing_ok=True)


def _where_to_resume(folder: Path) -> str:
    step = latest_step(folder)
    return "from its beginning" if step is None else f"from step {step}"


def latest_step(folder: Path) -> int | None:
    """Number of updates in the newest checkpoint, or None."""
    steps = [int(path.stem.removeprefix("step-")) for path in folder.glob("step-*.pt")]
    return max(steps, default=None)


def load(folder: Path, step: int, device: torch.device) -> dict[str, Any]:
    """Load a checkpoint. Raises TrainingError that names a damaged file."""
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
