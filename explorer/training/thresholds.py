"""The cut-offs of expert-threshold routing move once a step, from the scores of all its tokens."""

from collections.abc import Sequence

import torch
from torch import Tensor

from explorer.model import MoETransformer
from explorer.model.expert_choice import update_thresholds
from explorer.training.ranks import ALONE, Ranks


def has_thresholds(model: MoETransformer) -> bool:
    """Whether the model's routers compare scores with cut-offs."""
    return any(router.threshold_E is not None for router in model.routers)


def move_thresholds(
    model: MoETransformer, scores_LTE: Sequence[Tensor], step: int, ranks: Ranks = ALONE
) -> None:
    """Update every cut-off after optimizer step `step`; nothing to do in other routings.

    scores_LTE: of each of this rank's micro-batches. One micro-batch of 4 B tokens, four of B and four
    ranks of B give the same cut-offs, since a quantile does not care for the order of tokens.
    """
    if not has_thresholds(model):
        return
    own = torch.cat([scores.detach() for scores in scores_LTE], dim=1)
    everybody = torch.cat(ranks.gather(own), dim=1)
    update_thresholds(model.routers, everybody, model.config, is_first=step == 0)
