"""The training loop as one importable function."""

from explorer.training.loop import TrainResult, train

__all__ = ["TrainResult", "train"]
