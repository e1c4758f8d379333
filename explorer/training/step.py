"""One optimizer step: forward, backward, clip, update; then, and only then, the bias.

Nothing here waits for a GPU: measurements stay on the device until `DeviceLog` fetches
several steps at once. The parts of a step are separate modules, in this order: `batches`,
`micro_batches`, `meters`, `update`, `step_log`.
"""

import torch

from explorer.config.run import RunConfig
from explorer.corpus import Corpus
from explorer.model import MoETransformer
from explorer.model.balancers import CombinedBalancer
from explorer.training.batches import step_batches
from explorer.training.gradients import probe_of
from explorer.training.meters import StepMeters
from explorer.training.micro_batches import accumulate_gradients
from explorer.training.ranks import SINGLE_PROCESS, Ranks
from explorer.training.step_log import StepLog
from explorer.training.thresholds import move_thresholds
from explorer.training.update import bias_LE, update_bias, update_weights


def train_step(
    model: MoETransformer,
    optimizer: torch.optim.Optimizer,
    balancer: CombinedBalancer,
    config: RunConfig,
    corpus: Corpus,
    step: int,
    learning_rate: float,
    ranks: Ranks = SINGLE_PROCESS,
) -> StepLog:
    """Run optimizer step `step` and measure it.

    The objective is that of `accumulate_gradients`. The bias moves once, after the optimizer, from int64
    counts over all micro-batches of all ranks.
    """
    training = config.training
    batches = step_batches(corpus, training, step, ranks)
    meters = StepMeters(is_sampled=step % training.sequence_load_interval == 0)
    probe = probe_of(model, training.gradient_probe_interval, step)
    accumulate_gradients(model, balancer, training, step, batches, ranks, meters, probe)
    grad_norm = update_weights(model, optimizer, training, learning_rate, ranks)
    totals = meters.totals(ranks)
    layers = totals.counts | totals.means
    lm_loss = layers.pop("lm_loss")
    if balancer.uses_bias:
        layers["expert_bias"] = bias_LE(model)
    update_bias(model, balancer, totals.counts["tokens"], step, meters.observed(balancer, ranks))
    move_thresholds(model, meters.scores, step, ranks)
    if probe:
        layers |= probe.figures(ranks)
    return StepLog(
        step=step,
        tokens_seen=(step + 1) * training.tokens_per_step,
        learning_rate=learning_rate,
        bias_update_rate=balancer.rate(step),
        scalars={"lm_loss": lm_loss, "grad_norm": grad_norm},
        layers=layers,
        sequences=meters.all_sequences(ranks),
        rank_counts_RLE=totals.rank_counts_RLE if meters.is_sampled else None,
    )
