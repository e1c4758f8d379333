"""What other tools log, by their own arithmetic: loops over counts [R][L][E], written from their sources.

R ranks, L layers, E experts, K experts per token. Losses take P = f, the load share.
"""

import math
import statistics


def summed(counts_RLE):
    """All ranks together, [L][E]."""
    return [[sum(column) for column in zip(*rows, strict=True)] for rows in zip(*counts_RLE, strict=True)]


def shares(load_E):
    return [c / sum(load_E) for c in load_E]


def product_loss(load_E):
    """E · Σ f_i P_i."""
    return len(load_E) * sum(f * f for f in shares(load_E))


def megatron(counts_RLE, top_k):
    """Each rank computes the loss of each layer from its own counts; the logged value is the mean."""
    return statistics.fmean(product_loss(load) for rank in counts_RLE for load in rank)


def transformers(counts_RLE, top_k):
    """`load_balancing_loss_func` concatenates the tokens of all layers; its fractions sum to K, not to 1."""
    losses = []
    for rank in counts_RLE:
        pooled = [sum(column) for column in zip(*rank, strict=True)]
        tokens = sum(pooled) / top_k
        losses.append(len(pooled) * sum((c / tokens) * (c / sum(pooled)) for c in pooled))
    return statistics.fmean(losses)


def nano_moe(counts_RLE, top_k):
    losses = []
    for rank in counts_RLE:
        for load in rank:
            tokens = sum(load) / top_k
            losses.append(len(load) * sum((c / tokens) * (c / sum(load)) for c in load))
    return statistics.fmean(losses)


def first_choice(counts_RLE, top_k):
    """Counts first choices; with K = 1 these are all choices."""
    return megatron(counts_RLE, 1) if top_k == 1 else None


def olmo_core(counts_RLE, top_k):
    """max / mean of each rank's counts; the metric is reduced over ranks by the maximum."""
    layers = len(counts_RLE[0])
    return statistics.fmean(
        max(max(rank[layer]) / statistics.fmean(rank[layer]) for rank in counts_RLE)
        for layer in range(layers)
    )


def prime_rl(counts_RLE, top_k):
    """Each rank drops its K largest counts of each layer, then max / mean - 1."""
    values = []
    for rank in counts_RLE:
        for load in rank:
            rest = sorted(load, reverse=True)[top_k:]
            if not rest:
                return None
            mean = sum(rest) / len(rest)
            values.append((max(rest) - mean) / mean if mean else math.nan)
    return sum(values) / len(values)


def automodel_utilization_max(counts_RLE, top_k):
    """The ratios of all layers and experts in one list, sorted; the last."""
    ratios = []
    for load in summed(counts_RLE):
        ideal = sum(load) / len(load)
        ratios += [c / ideal for c in load]
    return sorted(ratios)[-1]


def automodel_cv_mean(counts_RLE, top_k):
    """The sample standard deviation (divided by E - 1) over the mean, averaged over layers."""
    return statistics.fmean(statistics.stdev(load) / statistics.fmean(load) for load in summed(counts_RLE))


def automodel_diversity(counts_RLE, top_k):
    values = []
    for load in summed(counts_RLE):
        entropy = -sum(f * math.log(f) for f in shares(load) if f > 0)
        values.append(math.exp(entropy) / len(load))
    return statistics.fmean(values)


def shinka(counts_RLE, top_k):
    return statistics.fmean(
        sum(abs(f - 1 / len(load)) for f in shares(load)) / 2 for load in summed(counts_RLE)
    )


def sglang(counts_RLE, top_k):
    """The utilisation of each layer (mean / max over GPUs; the tool adds 1e-5 to both), averaged over layers.

    Each GPU holds one expert.
    """
    return statistics.fmean(statistics.fmean(load) / max(load) for load in summed(counts_RLE))


def vllm(counts_RLE, top_k):
    """`balancedness`: tokens per rank averaged and summed over layers, over the same with the maximum.

    Each rank holds one expert.
    """
    average = most = 0.0
    for load in summed(counts_RLE):
        average += sum(load) / len(load)
        most += max(load)
    return average / most


def tensorrt_per_expert(counts_RLE, top_k):
    """The row `average` of the report with `--per_expert`."""
    return statistics.fmean(max(load) / statistics.fmean(load) - 1 for load in summed(counts_RLE))


def plumb(counts_RLE, top_k):
    """max / mean of the experts that appear in a layer's counter."""
    ratios = []
    for load in summed(counts_RLE):
        seen = [c for c in load if c > 0]
        ratios.append(max(seen) / (sum(seen) / len(seen)))
    return statistics.fmean(ratios)


LOGGED = {
    "Megatron-LM, OLMo-core, MegaBlocks: load balancing loss over its coefficient": megatron,
    "transformers (Hugging Face): load_balancing_loss_func": transformers,
    "nanoMoE: auxiliary loss of a layer": nano_moe,
    "GShard, st-moe-pytorch, tutel: balance loss": first_choice,
    "OLMo-core: load imbalance": olmo_core,
    "prime-rl: max_vio/mean": prime_rl,
    "NeMo Automodel: expert_utilization_max": automodel_utilization_max,
    "NeMo Automodel: cv_mean": automodel_cv_mean,
    "NeMo Automodel: expert_diversity_mean": automodel_diversity,
    "ShinkaEvolve: L_imb": shinka,
    "SGLang: balancedness": sglang,
    "vLLM: balancedness": vllm,
    "TensorRT-LLM: imbalance ratio of its report": tensorrt_per_expert,
    "plumb-moe: imbalance_ratio": plumb,
}
"""Tool and number -> the value it logs for counts [R][L][E] and K."""
