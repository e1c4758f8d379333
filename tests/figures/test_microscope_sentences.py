"""Sentences of the Microscope that need no page."""

from types import SimpleNamespace

import numpy as np

from explorer.figures import probe_sentences


def test_the_favourites_domain_stands_beside_that_domains_share_of_the_text() -> None:
    # Two of eight tokens are english, and expert 1 is first choice of both of them and of two others.
    domains = ["english", "english", "python", "cpp", "json", "digits", "spanish", "spanish"]
    after = np.array([[1, 0], [1, 0], [1, 2], [1, 3], [0, 1], [2, 1], [3, 1], [0, 2]])
    view = SimpleNamespace(
        after=after,
        num_tokens=8,
        num_experts=4,
        text=SimpleNamespace(is_known=True, domains=domains),
        chosen_by=lambda t: after[t].tolist(),
    )
    assert probe_sentences.most_frequent_sentence(view) == (  # type: ignore[arg-type]
        "Expert 1 is the first choice of 4 tokens (2 would be even); 50.0 % of them are english, against "
        "25.0 % of all tokens."
    )
