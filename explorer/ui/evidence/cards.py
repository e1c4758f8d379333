"""Published numbers beside our verdicts, and findings about the questions themselves."""

from collections.abc import Sequence

import polars as pl
import streamlit as st

from explorer.evidence.published import CARDS, UNRELATED, Card
from explorer.evidence.registry import CLAIMS
from explorer.evidence.report import ClaimResult
from explorer.evidence.statistics import SUPPORTED
from explorer.figures import evidence
from explorer.ui.shared import show
from explorer.wording import and_list


def published(claim_results: Sequence[ClaimResult]) -> None:
    """Tables of the papers, each with its source; our verdicts stand under them and never inside."""
    st.header("Published numbers", anchor="published", divider="gray")
    st.markdown("As printed in the papers, at their scale. Nothing in these tables was measured here.")
    results = {result.claim.id: result for result in claim_results}
    for card, place in zip(CARDS, show.in_columns(len(CARDS)), strict=True):
        with place, st.container(border=True, height="stretch"):
            _card(card, results)


def _card(card: Card, results: dict[str, ClaimResult]) -> None:
    st.markdown(f"**{card.title}**")
    show.note(f"[{card.source.title}]({card.source.url}), {card.place}", markdown=True)
    frame = pl.DataFrame([dict(zip(card.columns, row, strict=True)) for row in card.rows])
    st.table(frame, hide_index=True)
    if card.note:
        show.note(card.note)
    ours = [_verdict(results[name]) for name in card.claims]
    show.note(f"Our test at small scale: {' '.join(ours)}")


def _verdict(result: ClaimResult) -> str:
    """Claim and verdict, and the effect of its first comparison where runs gave one."""
    text = f"“{result.claim.name}” {evidence.MARKS[result.verdict]} {result.verdict}"
    main = result.main
    if main is None or result.effect is None:
        return f"{text}."
    if result.num_supported and result.verdict != SUPPORTED:
        text += f", with {result.num_supported} of {len(result.results)} comparisons supported"
    return f"{text}; {main.comparison.words}: {evidence.effect_text(result)}."


def findings() -> None:
    """What reading the questions and their sources showed."""
    st.header("Findings about the questions", anchor="findings", divider="gray")
    names = [claim.name for claim in CLAIMS if claim.group == "Q"]
    st.markdown(
        f"{and_list([f'“{name}”' for name in names[:5]])} are the research questions that this project began "
        f"with; {and_list([f'“{name}”' for name in names[5:]])} cover what two of them ask about accuracy. "
        "Reading their sources showed:"
    )
    unrelated = and_list([f"[{name}]({url}), which {what}" for name, url, what in UNRELATED])
    st.markdown(
        "- **“Stability on code” joins two unrelated things.** The question asks about “code generation in "
        "the GPQA Diamond domain”. GPQA Diamond is a set of 198 graduate multiple-choice "
        "questions in science; it holds no code. "
        "The experiment measures stability on a corpus with code instead.\n"
        f"- **Two cited papers are not about mixtures of experts:** {unrelated}.\n"
        "- **The baseline of the loss-free paper counts per sequence.** Its loss is written for a sequence, "
        "and "
        "DeepSeek-V3 reports later that a batch-wise auxiliary loss reaches the same loss as loss-free. So "
        "every "
        "comparison here states its scope.\n"
        "- **Lynx was never measured on HotpotQA,** so “Lynx and full routing” has no published answer."
    )
