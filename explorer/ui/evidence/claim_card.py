"""One claim in words, its configurations, and the rows behind it."""

import polars as pl
import streamlit as st

from explorer.evidence.experiment import Experiment
from explorer.evidence.registry import EXPERIMENTS
from explorer.evidence.report import ClaimResult
from explorer.evidence.statistics import CONTRADICTED, NOT_RESOLVED, NOT_RUN, NOT_TESTABLE, SUPPORTED
from explorer.figures import evidence
from explorer.ui.shared import show
from explorer.wording import and_list, counted

COLOURS = {
    SUPPORTED: "green",
    CONTRADICTED: "red",
    NOT_RESOLVED: "orange",
    NOT_RUN: "gray",
    NOT_TESTABLE: "gray",
}


def head(result: ClaimResult) -> None:
    """Verdict, source, and what would change it."""
    claim = result.claim
    with st.container(border=True):
        st.markdown(f"**{claim.name}**  \n{show.plain(claim.text)}")
        source = f"[{claim.source.title}]({claim.source.url})" if claim.source.url else claim.source.title
        interim = " · interim" if result.is_interim else ""
        verdict = f"{evidence.MARKS[result.verdict]} {result.verdict}{interim}"
        st.markdown(f":{COLOURS[result.verdict]}-badge[{verdict}]  Source: {source}")
        st.markdown("\n".join(f"- **{name}:** {show.plain(text)}" for name, text in _lines(result)))


def _lines(result: ClaimResult) -> list[tuple[str, str]]:
    claim = result.claim
    lines = [
        ("Reason", claim.not_testable),
        ("Published", claim.published),
        ("It would be contradicted by", claim.falsifier),
        ("Ours differs", claim.caveat),
        ("What would change the verdict", "" if claim.not_testable else _change(result)),
    ]
    return [(name, text) for name, text in lines if text]


def _change(result: ClaimResult) -> str:
    """What the runs would have to show, or how many more it takes."""
    main = result.main
    if main is None or main.effect is None or result.verdict == NOT_RUN:
        done = f" ({result.num_run} of {len(result.results)} have them)" if result.num_run else ""
        return f"five paired seeds or more of every comparison{done}"
    if result.is_interim:
        planned = max(one.planned for one in result.results)
        return f"the seeds that are still missing of the {planned} fixed in advance"
    if result.verdict == NOT_RESOLVED:
        return _still_open(result)
    region = main.comparison.region
    if region.never:
        return "one counter-example, at any scale"
    return (
        f"an interval that is no longer wholly {region}, at a larger scale or with other settings"
        if result.verdict == SUPPORTED
        else f"an interval that reaches {region}, at a larger scale or with other settings"
    )


def _still_open(result: ClaimResult) -> str:
    """What the first comparison without a verdict lacks, and how many others do."""
    first, *others = [one for one in result.results if one.verdict == NOT_RESOLVED]
    if first.effect is None:
        return f"finite values of {first.comparison.words}"
    now = f"{first.effect.low:+.3g} to {first.effect.high:+.3g}".replace("-", "−")
    text = (
        f"an interval of “{first.comparison.words}” that is wholly {first.comparison.region} after Holm's "
        f"correction; before it, it is {now}, and more pairs would narrow it"
    )
    return f"{text}. Other open comparisons: {len(others)}" if others else text


def runs(result: ClaimResult) -> None:
    """Configurations and rows; closed until opened."""
    if not result.results:
        return
    names = list(dict.fromkeys(one.comparison.experiment for one in result.results))
    with st.expander("Configurations", icon=":material/settings:"):
        for name in names:
            _experiment(EXPERIMENTS[name])
    rows = {row.digest: row for one in result.results for row in one.rows}
    if not rows:
        return
    table = pl.DataFrame(
        [
            {
                "experiment": row.experiment,
                "arm": row.arm,
                "scale": row.scale,
                "seed": row.seed,
                **{name: row.metrics.get(name) for name in _metrics(result)},
                "seconds": row.seconds,
                "digest": row.digest,
                "rule": row.text,
            }
            for row in rows.values()
        ]
    )
    show.data_table(table, subject=f"Rows behind “{result.claim.name}”", key=f"evidence_{result.claim.id}")


def _metrics(result: ClaimResult) -> list[str]:
    metrics = dict.fromkeys(one.comparison.metric for one in result.results)
    return [
        name for name in metrics if any(name in row.metrics for one in result.results for row in one.rows)
    ]


def _experiment(experiment: Experiment) -> None:
    pairs = and_list(
        [f"{number} at {scale}" for scale, number in experiment.pairs.items() if scale != "tiny"]
    )
    st.markdown(
        f"**{experiment.title}** (`{experiment.id}`): {experiment.question} Pairs fixed in advance: {pairs}. "
        f"{experiment.note}"
    )
    common = [f"{name} = {_value(value)}" for name, value in experiment.settings]
    if common:
        show.note(f"All arms: {', '.join(common)}")
    st.dataframe(
        pl.DataFrame(
            [
                {
                    "arm": arm.label,
                    "rule": " | ".join(arm.candidates) or arm.text,
                    "settings": ", ".join(f"{name} = {_value(value)}" for name, value in arm.settings),
                }
                for arm in experiment.arms
            ]
        ),
        hide_index=True,
        alt=f"{counted(len(experiment.arms), 'arm')} of {experiment.title}",
    )


def _value(value: object) -> str:
    factor = getattr(value, "factor", None)
    return str(value) if factor is None else f"{factor:g} × the preset's"
