"""Update the cut-offs of expert-threshold routing once per step, from the scores of all its tokens."""

from collections.abc import Sequence

import torch
from torch import Tensor

from explorer.model import MoETransformer
from explorer.model.expert_choice import ThresholdRouter, update_thresholds
from explorer.training.ranks import SINGLE_PROCESS, Ranks


def threshold_routers(model: MoETransformer) -> list[ThresholdRouter]:
    """The routers with cut-offs: all of them, or none."""
    return [router for router in model.routers if isinstance(router, ThresholdRouter)]


def move_thresholds(
    model: MoETransformer, scores_LTE: Sequence[Tensor], step: int, ranks: Ranks = SINGLE_PROCESS
) -> None:
    """Update every cut-off after optimizer step `step`; no effect with other routings.

    scores_LTE: one per micro-batch of this rank. One micro-batch of 4 B tokens, four of B and four
    ranks of B give the same cut-offs, since quantiles do not depend on token order.
    """
    routers = threshold_routers(model)
    if not routers:
        return
    own = torch.cat([scores.detach() for scores in scores_LTE], dim=1)
    scores = torch.cat(ranks.gather(own), dim=1)
    update_thresholds(routers, scores, model.config, is_first=step == 0)
