"""Text that a trained model generates itself, with the experts of every token, as a server would return them.

The form is that of vLLM's responses, so that `import` reads it, prefill and decode apart.
Shapes: B responses, S tokens each, L MoE layers, K experts per token.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from explorer.errors import ConfigError
from explorer.files import replacing
from explorer.tasks.generation import BATCH
from explorer.tasks.specialisation import sequences_by_domain
from explorer.tasks.trained import TrainedModel, check_causal

NAME = "routes"


def write_responses(trained: TrainedModel, path: Path, prompts: int) -> int:
    """Continue `prompts` held-out texts of every domain and write a JSON line each; how many were written.

    Raises ConfigError for a model whose tokens do not take a fixed number of experts by themselves.
    """
    _check(trained)
    number = 0
    with replacing(path) as file:
        for domain, rows in sequences_by_domain(trained, prompts).items():
            for first in range(0, len(rows), BATCH):
                for response in responses(trained, rows[first : first + BATCH], seed=number):
                    file.write(json.dumps({"domain": domain, **response}).encode() + b"\n")
                    number += 1
    return number


@torch.no_grad()
def responses(trained: TrainedModel, rows_BS: Any, seed: int) -> Iterator[dict[str, Any]]:
    """The first half of each row is a prompt; the model draws as many tokens from its own distribution.

    The last token was never fed back, so it has no row of experts.
    """
    prompt_BP = torch.as_tensor(np.asarray(rows_BS), dtype=torch.int64)[:, : max(1, trained.length // 2)]
    tokens_BS = _continued(trained, prompt_BP, trained.length - prompt_BP.shape[1] + 1, seed)
    layers = trained.forward(tokens_BS[:, :-1]).layers
    ids_TLK = torch.stack([layer.routing.topk_expert_ids_TK.cpu() for layer in layers], dim=1)
    ids_BSLK = ids_TLK.reshape(len(tokens_BS), -1, *ids_TLK.shape[1:])
    size = prompt_BP.shape[1]
    for tokens_S, ids_SLK in zip(tokens_BS.tolist(), ids_BSLK, strict=True):
        yield {
            "prompt_token_ids": tokens_S[:size],
            "prompt_routed_experts": ids_SLK[:size].tolist(),
            "choices": [{"token_ids": tokens_S[size:], "routed_experts": ids_SLK[size:].tolist()}],
        }


def _continued(trained: TrainedModel, prompt_BP: Tensor, tokens: int, seed: int) -> Tensor:
    """The prompts with `tokens` more tokens each, drawn at temperature 1."""
    generator = torch.Generator().manual_seed(seed)
    rows_BS = prompt_BP
    for _ in range(tokens):
        logits_BV = trained.forward(rows_BS).logits_BSV[:, -1].float().cpu()
        drawn_B1 = torch.multinomial(logits_BV.softmax(-1), 1, generator=generator)
        rows_BS = torch.cat([rows_BS, drawn_B1], dim=1)
    return rows_BS


def _check(trained: TrainedModel) -> None:
    check_causal(trained, NAME)
    model = trained.config.model
    if not trained.model.routers:
        raise ConfigError(
            "model.routing", model.routing, "has no experts to write", "evaluate a model with MoE layers"
        )
    if model.top_p is not None:
        raise ConfigError(
            "model.top_p",
            model.top_p,
            "gives every token its own number of experts, which this format cannot hold",
            "evaluate a model with a fixed top_k",
        )
