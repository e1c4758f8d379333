"""The micro-batches of one optimizer step, and their transfer to the device."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from explorer.config.run import TrainingConfig
from explorer.corpus import Batch, Corpus
from explorer.training.ranks import SINGLE_PROCESS, Ranks


def step_batches(
    corpus: Corpus, training: TrainingConfig, step: int, ranks: Ranks = SINGLE_PROCESS
) -> dict[int, Batch]:
    """This rank's micro-batches of optimizer step `step`, by their index within the step."""
    return {
        index: corpus.batch(
            seed=training.seed,
            step=step,
            micro_batch=index,
            num_sequences=training.micro_batch_size,
            sequence_length=training.sequence_length,
        )
        for index in ranks.share(training.gradient_accumulation_steps)
    }


def as_tensor(tokens: NDArray[np.int64], device: torch.device) -> Tensor:
    """Token ids on the device, int64 in the same shape, without waiting for the copy."""
    tensor = torch.from_numpy(tokens)
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
