"""The Evidence page: all claims with their verdicts, one of them in full, published numbers, findings."""

from collections import Counter
from collections.abc import Sequence
from functools import partial

import polars as pl
import streamlit as st

from explorer.charts import evidence as charts
from explorer.evidence.registry import CLAIMS, EXPERIMENTS
from explorer.evidence.report import ClaimResult
from explorer.evidence.runner import duration
from explorer.figures import evidence
from explorer.figures.evidence_values import name_of
from explorer.figures.views import evidence as view_of
from explorer.ui.evidence import aux_loss_cost, cards, claim_card
from explorer.ui.shared import panels, show, state, urls
from explorer.wording import and_list, counted

TABLE, TABLE_OF_OTHERS = "evidence_table", "evidence_others"
TABLE_PX = 590
HEAD_PX, ROW_PX = 37, 62
"""Of the table of claims; a row has three lines of a claim's text."""


def view() -> None:
    """Verdicts, the chosen claim, published numbers, findings."""
    ids = evidence.claim_ids()
    urls.prepare_choice(view_of.CLAIM, ids, view_of.DEFAULT, partial(_notice, ids))
    urls.show_notices(view_of.CLAIM)
    panels.bind(view_of.CLAIM)
    st.markdown(
        "Claims about load balancing without an auxiliary loss, each tested by paired runs of small models "
        "that anyone can repeat. A verdict is computed from the rows that the runs recorded: it says what "
        "holds *at this scale*, and nothing about models a thousand times larger. `quick` and `standard` "
        "are two sizes of run: half a minute and two to three minutes of training on one core."
    )
    aux_loss_cost.card()
    settings = view_of.settings_of(state.text(view_of.CLAIM))
    results = evidence.evaluated(settings.version)
    show.question(view_of.questions(settings)["evidence_verdicts"])
    _tables(results)
    _statistics(results)
    chosen_claim()
    cards.published(results)
    cards.findings()
    _rerun()


def _notice(ids: list[str], value: str) -> str:
    rule = f"claims are {ids[0]} to {ids[12]}, B1 to B12, C1 to C10, X1 to X7 and 000 to 006"
    return f"The link asks for claim = {value}; {rule}. {view_of.DEFAULT} is shown."


def _tables(results: tuple[ClaimResult, ...]) -> None:
    """One row per claim, those with a verdict first; a selected row is opened below."""
    ordered = evidence.in_order(results)
    answered = [result for result in ordered if result.verdict in evidence.ANSWERED]
    others = [result for result in ordered if result.verdict not in evidence.ANSWERED]
    if answered:
        _table(answered, TABLE)
    if others:
        counts = and_list([f"{n} {verdict}" for verdict, n in _counts(others).items()])
        with st.expander(f"Claims without a verdict: {counts}", icon=":material/hourglass_empty:"):
            _table(others, TABLE_OF_OTHERS)
    show.note(
        "Select a row to open the claim. “1 of 3” marks the first of several comparisons: a claim holds when "
        "all of them do, and counts as not run until all have five pairs. Some claims are exact"
        f"{_exact(results)}; their effect is the number of counter-examples found."
    )


def _exact(results: Sequence[ClaimResult]) -> str:
    """Names of the claims whose table row counts counter-examples, in brackets; empty for none."""
    names = [
        r.claim.name for r in results if r.effect is not None and r.main and r.main.comparison.region.never
    ]
    return f" ({and_list([f'“{name}”' for name in names])})" if names else ""


def _counts(results: Sequence[ClaimResult]) -> Counter[str]:
    return Counter(result.verdict for result in results)


def _table(results: Sequence[ClaimResult], key: str) -> None:
    st.dataframe(
        claim_rows(results),
        hide_index=True,
        height=min(TABLE_PX, HEAD_PX + ROW_PX * len(results)),
        row_height=ROW_PX,
        key=key,
        on_select=partial(_open, key, [result.claim.id for result in results]),
        selection_mode="single-row",
        alt=f"Table of {counted(len(results), 'claim')} with verdict, effect, interval, seeds, scale and "
        "cost",
        column_config={
            # As wide as a phone has room for; the text opens with the row.
            "verdict": st.column_config.TextColumn(width=112),
            "claim": st.column_config.TextColumn(width=190),
            "text": st.column_config.TextColumn(width=280),
            "effect": st.column_config.TextColumn(width=105),
            "95 % interval": st.column_config.TextColumn(width=105),
            "seeds": st.column_config.NumberColumn(width=55, help="Pairs of the comparison with the fewest."),
            "scale": st.column_config.TextColumn(width=75),
            "cost": st.column_config.TextColumn(
                width=65, help="Training time of all runs behind it; shared runs count for each claim."
            ),
            # In the menu of columns: the claim below names it, and the table is no wider than the page.
            "source": None,
            "id": None,
        },
    )


def claim_rows(results: Sequence[ClaimResult]) -> pl.DataFrame:
    """The table of these claims."""
    rows = []
    for result in results:
        effect = result.effect
        interim = " (interim)" if result.is_interim else ""
        rows.append(
            {
                "verdict": f"{evidence.MARKS[result.verdict]} {result.verdict}{interim}",
                "claim": result.claim.name,
                "text": result.claim.text,
                "effect": ""
                if effect is None
                else charts.signed(evidence.short(effect.mean)) + _place(result),
                "95 % interval": "" if effect is None else evidence.interval_text(effect),
                "seeds": result.pairs,
                "scale": result.scale,
                "cost": duration(result.seconds) if result.seconds else "",
                "source": result.claim.source.title,
                "id": result.claim.id,
            }
        )
    return pl.DataFrame(rows)


def _place(result: ClaimResult) -> str:
    """` (1 of 3)` where the effect is that of the first of three comparisons."""
    place = result.results.index(result.main) + 1 if result.main else 1
    return f" ({place} of {len(result.results)})" if len(result.results) > 1 else ""


def _open(key: str, ids: list[str]) -> None:
    """Show the claim of the selected row."""
    selected = state.value(key)["selection"]["rows"]
    if selected and 0 <= selected[0] < len(ids):
        state.put(view_of.CLAIM, ids[selected[0]])


def _statistics(results: tuple[ClaimResult, ...]) -> None:
    family = sum(
        one.effect is not None and one.effect.p is not None and one.effect.pairs >= 5
        for result in results
        for one in result.results
    )
    with st.expander("How a verdict is computed", icon=":material/calculate:"):
        st.markdown(
            "- Runs of one seed share initial weights and data, so arms are compared **in pairs**. The "
            "effect is "
            "the mean paired difference with its 95 % t interval; with 20 pairs or more, a bootstrap "
            "interval is shown as well.\n"
            "- **Supported**: the interval lies inside the region that the claim names. **Contradicted**: it "
            "lies "
            "outside. **Not resolved at this scale**: it covers the edge. A verdict needs five pairs; with "
            "fewer "
            "a claim is **not run**.\n"
            f"- This page makes several comparisons at once ({family} with enough pairs), so each must also "
            "survive **Holm's correction** over all of them.\n"
            "- Numbers of seeds are fixed in advance and no run stops on significance. While some are "
            "missing, "
            "the verdict is **interim**.\n"
            "- The rules were fixed before the runs at `quick`; at `standard` the rows are those of the "
            "shipped runs, whose results were known when the rules were written.\n"
            "- Hyper-parameters are tuned on seeds that no comparison uses.\n"
            "- For an identity the effect counts counter-examples, and one contradicts it."
        )


@st.fragment
def chosen_claim() -> None:
    """The claim that is open, its panels and its runs."""
    st.header("One claim", anchor="claim", divider="gray")
    # The id too, which documents and addresses use: typing it finds the claim.
    titles = {claim.id: f"{claim.name} ({claim.id})" for claim in CLAIMS}
    claim_id = urls.selectbox("Claim", list(titles), key=view_of.CLAIM, format_func=lambda name: titles[name])
    if claim_id == view_of.DEFAULT:
        show.note(f"“{name_of(claim_id)}” is shown until you select another claim, here or in a table above.")
    settings = view_of.settings_of(claim_id)
    questions = view_of.questions(settings)
    result = evidence.result_of(settings)
    claim_card.head(result)
    show.question(questions["evidence_claim"])
    if view_of.ANSWERS in questions:
        show.question(questions[view_of.ANSWERS])
    if any(EXPERIMENTS[c.experiment].trial is None for c in result.claim.comparisons) and result.scale:
        left, right = show.in_columns(2)
        with left:
            show.question(questions["evidence_runs"])
        with right:
            show.question(questions["evidence_course"])
    claim_card.runs(result)


def _rerun() -> None:
    st.subheader("Run it yourself")
    st.code(
        "python -m explorer experiment list\n"
        "python -m explorer experiment run loss-free --preset quick\n"
        "python -m explorer experiment report",
        language=None,
    )
    show.note(
        "The first line prints what each costs. Each finished run leaves one row and is never repeated."
    )
