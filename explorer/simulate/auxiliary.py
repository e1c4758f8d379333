"""A model of the auxiliary loss: its effect on the experts' logit offsets.

The loss is L = E · Σ_i f_i · P_i with f_i = c_i / (K·T), the load fraction, and P_i the
mean over tokens of the score divided by the token's sum of scores (Switch Transformer,
arXiv 2101.03961, in the form for any K; scores of a sigmoid are normalised as in DeepSeek-V3,
arXiv 2412.19437). f is held constant, as in training; the gradient of P with respect to the
offsets is exact.

Limits: in a real model the same gradient reaches router and trunk through every token, an
optimizer such as Adam rescales it, and the language loss counteracts it. Here nothing
does, so the rate only sets the speed, and the cost in language loss is not visible.
"""

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


def normalised(scores: NDArray[np.floating]) -> NDArray[np.floating]:
    """Scores divided by the token's sum, [T, E] -> [T, E]; changes nothing after a softmax."""
    return np.asarray(scores / scores.sum(1, keepdims=True))


def loss_gradient(scores: NDArray[np.floating], counts: NDArray[np.int64], score_function: str) -> F64:
    """dL / d offset, [E]: the derivative of the loss by an expert's logit offset over all tokens.

    With q = s / Σs and w = ds/do / Σs, dL/do_j = E · mean_t w_j (f_j - Σ_i f_i q_i). Softmax: w = s,
    sigmoid: w = s (1 - s) / Σs.
    """
    share = (counts / counts.sum()).astype(scores.dtype)
    total = scores.sum(1, keepdims=True)
    weighted = (scores @ share)[:, None] / total
    slope = scores / total if score_function == "softmax" else scores * (1 - scores) / total
    mean = slope.mean(0, dtype=np.float64) * share - (slope.T @ weighted)[:, 0] / len(scores)
    return np.asarray(scores.shape[1] * mean, dtype=np.float64)
