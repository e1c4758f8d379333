"""The loss-free update rules as pure functions of counts: arrays in, arrays out.

The model calls them with torch tensors, the simulator and the tests with numpy arrays; only
arithmetic that both share is used. E is the last axis.

Source: Wang et al., "Auxiliary-Loss-Free Load Balancing Strategy for Mixture-of-Experts",
arXiv 2408.15664, Algorithm 1 and section 4.3 (proportional and multiplicative variants).
"""

from typing import Any

UPDATE_RULES = ("sign", "proportional", "rms")


def load_error(counts: Any) -> Any:
    """Relative violation e_i = (mean(c) - c_i) / mean(c), [..., E] -> [..., E]; positive = underloaded.

    The paper defines e_i in tokens and leaves the unit of the proportional rule open; relative
    errors make u independent of the batch size. Sign and RMS rules do not depend on the unit.
    Counts may be of any integer type; zero counts everywhere give zero error.
    """
    counts = _signed(counts)
    total = counts.sum(-1)[..., None]
    num_experts = counts.shape[-1]
    # mean - c = (total - E c) / E: the numerator stays an exact integer, so that exactly average
    # load gives exactly zero whatever the size of the counts.
    return (total - counts * num_experts) / (total + (total == 0))


def _signed(counts: Any) -> Any:
    """Whole numbers as int64: unsigned or narrow ones would wrap around, which flips the sign."""
    if hasattr(counts, "astype"):
        return counts.astype("int64") if counts.dtype.kind in "biu" else counts
    return counts if counts.is_floating_point() else counts.long()


def sign(values: Any) -> Any:
    """-1, 0 or +1, for numpy arrays and torch tensors alike."""
    return (values > 0) * 1.0 - (values < 0) * 1.0


def bias_delta(counts: Any, *, update_rule: str, bias_update_rate: float, centred: bool = False) -> Any:
    """What one optimizer step adds to the bias, [..., E] -> [..., E].

    sign          u · sign(e)                    Algorithm 1; exactly average load moves nothing
    proportional  u · e                          e relative to the mean load
    rms           u · e / RMS(e)                 the sign rule's size without its jitter (Su 2026)

    Overloaded experts (e < 0) go down. `centred` subtracts the mean of the delta, as torchtitan
    and Ling do: selections are the same, the biases do not drift together.
    """
    error = load_error(counts)
    if update_rule == "sign":
        direction = sign(error)
    elif update_rule == "proportional":
        direction = error
    elif update_rule == "rms":
        mean_square = (error * error).mean(-1)[..., None]
        direction = error / (mean_square + (mean_square == 0)) ** 0.5
    else:
        raise ValueError(f"update_rule = {update_rule!r}: must be one of {', '.join(UPDATE_RULES)}")
    if centred:
        direction = direction - direction.mean(-1)[..., None]
    return bias_update_rate * direction


def neutral_bias(bias_form: str) -> float:
    """The bias that changes nothing: 0 if added to the scores, 1 if they are multiplied by it."""
    return 1.0 if bias_form == "multiplicative" else 0.0


def biased_scores(scores: Any, bias: Any, bias_form: str) -> Any:
    """What is compared in the top-K, [T, E]: s + b, or s · b; used for choosing and nothing else."""
    return scores * bias if bias_form == "multiplicative" else scores + bias
