"""Sentences of the Microscope that need no page."""

from types import SimpleNamespace

import numpy as np
from sentences import sentence

from explorer.figures import probe_sentences


def test_the_favourites_domain_stands_beside_that_domains_share_of_the_text() -> None:
    # Two of eight tokens are english, and expert 1 is first choice of both of them and of two others.
    domains = ["english", "english", "python", "cpp", "json", "digits", "spanish", "spanish"]
    after = np.array([[1, 0], [1, 0], [1, 2], [1, 3], [0, 1], [2, 1], [3, 1], [0, 2]])
    view = SimpleNamespace(
        after=after,
        logits=np.zeros((8, 4)),
        num_tokens=8,
        num_experts=4,
        text=SimpleNamespace(is_known=True, domains=domains),
        chosen_by=lambda t: after[t].tolist(),
    )
    assert probe_sentences.most_frequent_sentence(view) == (  # type: ignore[arg-type]
        sentence(
            "microscope.first_choice",
            expert=1,
            tokens=4,
            even=2,
            share="50.0 %",
            domain="English",
            all="25.0 %",
        )
    )
