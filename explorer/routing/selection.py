"""Top-K by a threshold, as a mask, and its counts, without sorting.

Counting the scores at or above each row's K-th largest is several times faster than listing the
top K and counting the list. Rows in which more than K scores reach the threshold (ties) are
corrected: of equal scores those with the lower expert index are selected, as in `routing_math.choose`.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Mask = NDArray[np.bool_]
F32: np.dtype[np.floating] = np.dtype(np.float32)


class Selector:
    """Selects the top K of every row; reuses its memory between calls."""

    def __init__(
        self, num_tokens: int, num_experts: int, top_k: int, dtype: np.dtype[np.floating] = F32
    ) -> None:
        self.top_k, self.num_experts = top_k, num_experts
        self._work: Floats = np.empty((num_tokens, num_experts), dtype=dtype)
        self._mask: Mask = np.empty((num_tokens, num_experts), dtype=np.bool_)

    def choose(self, scores: Floats) -> tuple[Mask, NDArray[np.int64]]:
        """scores: [T, E]. Returns the mask [T, E] (overwritten by the next call) and counts [E]."""
        mask = self.mask(scores)
        return mask, column_counts(mask)

    def mask(self, scores: Floats) -> Mask:
        """Only the mask, [T, E]; overwritten by the next call."""
        place = self.num_experts - self.top_k
        np.copyto(self._work, scores)
        self._work.partition(place, axis=1)
        threshold = self._work[:, place, None]
        np.greater_equal(scores, threshold, out=self._mask)
        if np.count_nonzero(self._mask) != self.top_k * len(scores):
            break_ties(scores, threshold, self._mask, self.top_k)
        return self._mask


def choose(scores: Floats, top_k: int) -> Mask:
    """The top K of every row as a new mask. [T, E] -> [T, E]."""
    tokens, experts = scores.shape
    return Selector(tokens, experts, top_k, scores.dtype).mask(scores)


def column_counts(mask: Mask) -> NDArray[np.int64]:
    """Number of rows that selected each expert, [T, E] -> [E]."""
    # Bytes of up to 255 rows are summed as bytes, which is what makes it fast.
    rows, columns = mask.shape
    whole = rows // 240 * 240
    view = mask.view(np.uint8)
    blocks = view[:whole].reshape(-1, 240, columns).sum(1, dtype=np.uint8)
    return np.asarray(blocks.sum(0, dtype=np.int64) + view[whole:].sum(0, dtype=np.int64))


def break_ties(scores: Floats, threshold: Floats, mask: Mask, top_k: int) -> None:
    """Leave exactly K selected in every row of `mask`, in place: the first of equal scores.

    scores and mask: [T, E]; threshold: the K-th score of every row, [T, 1].
    """
    rows = np.flatnonzero(mask.sum(1) != top_k)
    above = scores[rows] > threshold[rows]
    tied = scores[rows] == threshold[rows]
    room = top_k - above.sum(1, keepdims=True)
    mask[rows] = above | (tied & (np.cumsum(tied, axis=1) <= room))
