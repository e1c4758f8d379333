"""What this is, and the shipped comparison in one picture."""

import streamlit as st

from explorer.charts import captions, story
from explorer.ui import cached, links, merge, picker, run_table, show, urls
from explorer.ui.arms import chart_labels, default_arms

st.title("Watch a mixture of experts learn to share its work")
st.markdown(
    "Small language models were trained on real text, and every expert's load was written down at every "
    "step. Here you see how the router collapses when nothing balances it, what an auxiliary loss does "
    "about that at which price, and how a bias that is nudged by a sign levels the loads without a gradient."
)
urls.show_notices()

arms = default_arms(picker.all_arms())
if not arms:
    st.info(
        "There are no recorded runs yet. Train one on the **Train** page (a `quick` run takes under a "
        "minute), or put run folders into `runs/`. The runs that ship with the project lie in `data/runs/`; "
        "`make app` shows them.",
        icon=":material/inbox:",
    )
    links.page("train", "Train a first run")
else:
    labels = chart_labels(arms)
    families = {arm.token: arm.family for arm in arms}
    runs = [run for arm in arms for run in arm.runs]
    frame = merge.series(cached.max_vio_series(cached.versions(runs), max_bins=120), arms, ["max_vio"])
    chance = cached.references(arms[-1].first.version)
    st.subheader("How uneven is the work, step by step?")
    show.figure(
        story.story(frame, labels=labels, families=families, reference=chance["uniform_mean"]),
        subject="Imbalance over training steps",
        finding=captions.max_vio_curves(frame, labels=labels),
        how="MaxVio is how far the busiest expert lies above the mean load: 0 is perfectly even, 1 means "
        "twice its share. The dashed line is what random routing would show.",
        table=frame,
        key="story",
    )

run_table.show(picker.all_runs())
links.where_next()
