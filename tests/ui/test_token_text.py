"""What the token text is sent, and what it may send back."""

import json

import numpy as np
import pytest

from explorer.figures.probe_batch import TextSpan, text_spans
from explorer.ui.components.token_text import PALETTE, TokenPick
from explorer.ui.components.token_text.component import _pick
from explorer.ui.components.token_text.payload import ink_on, text_payload

TEXTS = ["a", "<i>", "\n"]
CHOSEN = np.array([[2, 0], [1, 4], [4, 4]])
GATES = np.array([[0.626, 0.374], [1.0, 0.0], [0.0, 0.0]], np.float32)


def test_the_payload_is_plain_data_without_empty_slots() -> None:
    payload = text_payload(TEXTS, text_spans(3, 2, ["x"]), CHOSEN, GATES, np.array([True, False, False]), 4)
    assert json.loads(json.dumps(payload)) == payload
    assert payload["chosen"] == [[2, 0], [1], []]
    assert payload["gates"] == [[63, 37], [100], []]
    assert payload["moved"] == [1, 0, 0]
    assert payload["sequences"] == [["x", 0, 2], ["text 2", 2, 3]]
    assert payload["texts"] == TEXTS


def test_the_version_changes_with_anything_that_is_shown() -> None:
    def version(
        expert_ids: np.ndarray = CHOSEN, gates: np.ndarray | None = GATES, texts: list[str] = TEXTS
    ) -> str:
        return str(text_payload(texts, text_spans(3, 3, ["x"]), expert_ids, gates, None, 4)["version"])

    assert version() == version()
    assert (
        len({version(), version(CHOSEN[:, ::-1]), version(gates=None), version(texts=["b", "c", "d"])}) == 4
    )


def test_texts_are_cut_into_sequences() -> None:
    assert text_spans(5, 2, ["x", "y", "z"]) == [
        TextSpan(domain="x", start=0, end=2),
        TextSpan(domain="y", start=2, end=4),
        TextSpan(domain="z", start=4, end=5),
    ]


def contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colour", PALETTE)
def test_letters_can_be_read_on_every_expert(colour: str) -> None:
    assert contrast(colour, ink_on(colour)) >= 4.5
    mixed = {}
    for paper, letters in (("#FFFFFF", "#1C2430"), ("#0F1218", "#E6E9EE")):
        pairs = [(int(colour[i : i + 2], 16), int(paper[i : i + 2], 16)) for i in (1, 3, 5)]
        mixed[letters] = "#" + "".join(f"{round(0.47 * a + 0.53 * b):02X}" for a, b in pairs)
    assert all(contrast(tint, letters) >= 4.5 for letters, tint in mixed.items())


def test_experts_have_colours_of_their_own_up_to_sixteen() -> None:
    assert len(set(PALETTE)) == len(PALETTE) == 16


@pytest.mark.parametrize(
    ("sent", "wanted"),
    [
        ({"token": 3, "expert": 0}, TokenPick(token=3, expert=0)),
        ({"token": 3, "expert": None}, TokenPick(token=3, expert=None)),
        ({"token": -1, "expert": 0}, None),
        ({"token": True, "expert": 0}, None),
        ({"token": "3", "expert": 0}, None),
        ({"token": 3, "expert": "all"}, None),
        ({"expert": 0}, None),
        ([3], None),
        (None, None),
    ],
)
def test_what_a_browser_sends_is_checked(sent: object, wanted: TokenPick | None) -> None:
    assert _pick({"picked": sent}) == wanted
