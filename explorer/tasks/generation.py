"""Completions of prompts, token by token. There is no cache: each token computes the whole window anew."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from explorer.model.router import Reroute
from explorer.tasks.trained import TrainedModel, padded

BATCH = 32
"""Prompts completed together."""
Stop = Callable[[str], bool]


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the next token is chosen."""

    temperature: float = 0.0
    """0: the most probable token. Above: drawn from the softmax of logits / temperature."""
    max_tokens: int = 32
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Window:
    """The tokens of one decoding step, for a rerouting that depends on their phase."""

    lengths_B: Tensor
    """Tokens of each row that are not padding, int64 [B]."""
    prompts_B: Tensor
    """Of these, tokens of the prompt, int64 [B]."""
    running_B: Tensor
    """False for rows that are complete, bool [B]."""
    width: int
    """S, the tokens per row with padding."""


RerouteWindow = Callable[[Window], Reroute]


def complete(
    trained: TrainedModel,
    prompts: Sequence[str],
    sampling: Sampling,
    stop: Stop,
    *,
    batch: int = BATCH,
    reroute: RerouteWindow | None = None,
) -> list[str]:
    """The completion of each prompt: text up to where `stop` is true of it, or `max_tokens`.

    Prompts lose their beginning where they do not fit the context together with the completion. The random
    numbers depend on the seed, the batch and the place in it. `reroute` makes the rerouting of a step.
    """
    encoded = [ids.tolist() for ids in trained.tokenizer.encode_many(list(prompts))]
    results: list[str] = []
    for first in range(0, len(encoded), batch):
        part = encoded[first : first + batch]
        results += _complete_batch(trained, part, sampling, stop, reroute, first)
    return results


def _complete_batch(
    trained: TrainedModel,
    prompts: Sequence[list[int]],
    sampling: Sampling,
    stop: Stop,
    reroute: RerouteWindow | None,
    first: int,
) -> list[str]:
    room = max(1, trained.length - sampling.max_tokens)
    rows = [ids[-room:] or [0] for ids in prompts]
    sizes = [len(row) for row in rows]
    texts, running = [""] * len(rows), [True] * len(rows)
    generator = torch.Generator().manual_seed((sampling.seed * 1_000_003 + first) % 2**63)
    for _ in range(sampling.max_tokens):
        window = Window(
            lengths_B=torch.tensor([len(row) for row in rows]),
            prompts_B=torch.tensor(sizes),
            running_B=torch.tensor(running),
            width=max(map(len, rows)),
        )
        logits_BV = _last_logits(trained, rows, reroute(window) if reroute else None)
        token_ids = _choose(logits_BV, sampling.temperature, generator)
        for index, token in enumerate(token_ids):
            if running[index]:
                rows[index].append(token)
                texts[index] = trained.tokenizer.decode(rows[index][sizes[index] :])
                running[index] = not stop(texts[index])
        if not any(running):
            break
    return texts


def _last_logits(trained: TrainedModel, rows: Sequence[list[int]], reroute: Reroute | None) -> Tensor:
    """Logits of the token after each row, float32 [B, V] on the CPU; the last `length` tokens are context."""
    contexts = [row[-trained.length :] for row in rows]
    logits = trained.forward(padded(contexts), reroute=reroute).logits_BSV
    last = torch.tensor([len(row) - 1 for row in contexts], device=logits.device)
    return logits[torch.arange(len(rows), device=logits.device), last].float().cpu()


def _choose(logits_BV: Tensor, temperature: float, generator: torch.Generator) -> list[int]:
    if temperature == 0:
        return [int(token) for token in logits_BV.argmax(-1)]
    shares = (logits_BV / temperature).softmax(-1)
    return [int(token) for token in torch.multinomial(shares, 1, generator=generator)[:, 0]]


def first_line(text: str) -> str:
    """The text before the first line break."""
    return text.split("\n", 1)[0]


def has_line(text: str) -> bool:
    """A `Stop`: a line is complete."""
    return "\n" in text
