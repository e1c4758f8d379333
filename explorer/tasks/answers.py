"""Exact match and F1 of answers, with the normalisation of SQuAD and HotpotQA.

Source: Rajpurkar et al., arXiv 1606.05250, section 6.1; Yang et al., arXiv 1809.09600, section 5.
"""

import re
import string
from collections import Counter

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalised(answer: str) -> str:
    """Lower case, without punctuation and articles, with single spaces.

    >>> normalised("The  Old Town.")
    'old town'
    """
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split())


def is_exact(answer: str, truth: str) -> bool:
    """Whether both are equal after normalisation."""
    return normalised(answer) == normalised(truth)


def f1(answer: str, truth: str) -> float:
    """Harmonic mean of precision and recall over words, counted with multiplicity; 0 ... 1."""
    words, right = normalised(answer).split(), normalised(truth).split()
    if not words or not right:
        return float(words == right)
    shared = sum((Counter(words) & Counter(right)).values())
    return 2 * shared / (len(words) + len(right))
