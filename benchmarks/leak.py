"""Does routing leak the future? Table of `explorer.model.leak` over routings and chunk sizes.

    python -m benchmarks.leak [--preset quick] [--steps 200] [--seeds 0]

For every arm one model is measured before and after training (`--steps 0`: only before): the share of earlier
tokens, and of tokens in other sequences, whose experts or logits change when one later token is changed.
Also the held-out perplexity, with routing as in training (expert choice ranks the tokens of a held-out batch
too), and with the tokens of every chunk drawn from the whole batch (arXiv 2408.15664, section 5.2: this
removes any gain from leakage).
"""

import argparse
import math
from dataclasses import replace

import torch
from torch.nn import functional as F

from explorer.config.presets import arm_config, get_preset
from explorer.config.run import RunConfig
from explorer.corpus import Corpus, load_corpus
from explorer.model import MoETransformer, build_model
from explorer.model import choose as choosing
from explorer.model.balancers import CombinedBalancer
from explorer.model.leak import Leak, measure_leak
from explorer.records.records import NullRecorder
from explorer.training import loop

TRIALS = 32


def arms(sequence_length: int) -> list[str]:
    """Routings to compare; chunks from a quarter of a sequence to a whole micro-batch."""
    chunks = (sequence_length // 4, sequence_length, 4 * sequence_length)
    return ["loss_free", "expert_threshold", *(f"expert_choice:chunk={n}" for n in chunks), "expert_choice"]


def measured(config: RunConfig, corpus: Corpus, train: bool) -> tuple[Leak, Leak, float, float]:
    """Leak before and after training, held-out perplexity, and perplexity with shuffled chunks."""
    batches = list(
        corpus.held_out(
            num_tokens=config.training.eval_tokens, sequence_length=config.training.sequence_length
        )
    )
    tokens = torch.cat([torch.from_numpy(batch.tokens) for batch in batches])[
        : config.training.micro_batch_size
    ]
    balancer = CombinedBalancer(config.balancer.rules)
    fresh = build_model(
        config.model, corpus.vocab_size, config.training.sequence_length, config.training.seed
    )
    before = measure_leak(fresh, tokens[:, :-1], balancer, trials=TRIALS)
    if not train:
        return before, before, math.nan, math.nan
    with loop.quiet_cpu(config.training.num_threads):
        run = loop._Run(config, NullRecorder(), loop.never, corpus, None, None, loop.SINGLE_PROCESS)
        result = run.run(None)
    after = measure_leak(run.model, tokens[:, :-1], run.balancer, trials=TRIALS)
    every = torch.cat([torch.from_numpy(batch.tokens) for batch in batches])
    plain = perplexity(run.model, run.balancer, every, config)
    shuffled = perplexity(run.model, run.balancer, every, config, shuffle=True)
    assert result.state == "finished"
    return before, after, plain, shuffled


@torch.no_grad()
def perplexity(
    model: MoETransformer,
    balancer: CombinedBalancer,
    tokens: torch.Tensor,
    config: RunConfig,
    *,
    shuffle: bool = False,
) -> float:
    """exp of the mean loss in batches of the training size; `shuffle`: chunks drawn from the whole batch."""
    model.eval()
    total = count = 0.0
    original = choosing.expert_choice
    generator = torch.Generator().manual_seed(0)

    def shuffled_choice(logits_TE, model_config):
        order_T = torch.randperm(len(logits_TE), generator=generator)
        found = original(logits_TE[order_T], model_config)
        back_T = order_T.argsort()
        return replace(
            found,
            router_logits_TE=logits_TE,
            scores_TE=found.scores_TE[back_T],
            topk_expert_ids_TK=found.topk_expert_ids_TK[back_T],
            gate_weights_TK=found.gate_weights_TK[back_T],
            served_TK=None if found.served_TK is None else found.served_TK[back_T],
        )

    if shuffle:
        choosing.expert_choice = shuffled_choice
    try:
        for part in tokens.split(config.training.micro_batch_size):
            logits = model(part[:, :-1], balancer).logits_BSV
            total += float(F.cross_entropy(logits.flatten(0, 1), part[:, 1:].flatten(), reduction="sum"))
            count += part[:, 1:].numel()
    finally:
        choosing.expert_choice = original
    model.train()
    return math.exp(total / count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", default="0")
    options = parser.parse_args()
    base = get_preset(options.preset)
    if options.steps:
        base = base.with_setting("training.num_steps", options.steps)
    corpus = load_corpus(base.corpus)
    columns = ("before: experts", "logits", "after: experts", "logits", "other sequences: experts", "logits")
    print(f"{options.preset}, {options.steps} steps; {TRIALS} trials of one changed token; tokens affected")
    print(f"{'arm':<26} seed  {'  '.join(columns)}  perplexity  chunks shuffled")
    for seed in map(int, options.seeds.split(",")):
        for arm in arms(base.training.sequence_length):
            config = arm_config(base, arm, options.preset).with_setting("training.seed", seed)
            before, after, plain, shuffled = measured(config, corpus, options.steps > 0)
            shares = (
                before.share("earlier_experts"),
                before.share("earlier_logits"),
                after.share("earlier_experts"),
                after.share("earlier_logits"),
                after.share("other_experts"),
                after.share("other_logits"),
            )
            cells = "  ".join(f"{s:>{len(c)}.1%}" for s, c in zip(shares, columns, strict=True))
            print(f"{arm:<26} {seed:>4}  {cells}  {plain:>10.2f}  {shuffled:>15.2f}", flush=True)


if __name__ == "__main__":
    main()
