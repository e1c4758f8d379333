"""One quantity, one number: what pages say of the shipped runs, computed once from their files."""

import re

import numpy as np
import polars as pl
import pytest
from app_pages import Opener, words
from facts import fact
from sentences import pattern, sentence
from shipped_tables import SEEDS, held_out, table

from explorer import metrics
from explorer.charts import captions
from explorer.cli.report import comparison_table
from explorer.config.presets import get_preset
from explorer.figures import final
from explorer.figures.arm_set import ArmSet
from explorer.figures.facts import quality as quality_facts
from explorer.figures.facts.quality import COURSE
from explorer.figures.facts.recorded import RecordedRuns
from explorer.figures.quality import verdict_rows
from explorer.figures.store import Trace
from explorer.queries import comparison
from explorer.queries.health import computation_batches
from explorer.ui.shared import cached
from explorer.ui.shared.store import STORE, ask

pytestmark = pytest.mark.slow
ARMS = {"none": "none", "aux_loss": "aux_loss", "loss_free": "loss_free"}


def by_sequence(run: str) -> np.ndarray:
    """[S, R, L, E] loads of the sequences of the last 20 recorded steps."""
    rows = table(run, "sequence_loads").filter(split="train")
    steps = sorted(rows["step"].unique())[-20:]
    rows = rows.filter(pl.col("step").is_in(steps)).sort("step", "micro_batch", "sequence", "layer", "expert")
    return rows["tokens"].to_numpy().reshape(20, -1, 4, 16)


def max_vio(counts: np.ndarray) -> np.ndarray:
    return np.asarray(counts.max(-1) / counts.mean(-1) - 1)


def worst(arm: str) -> float:
    """MaxVio of each run's worst layer, mean over seeds."""
    return float(np.mean([max_vio(held_out(f"{arm}-seed{seed}")).max() for seed in SEEDS]))


@pytest.mark.usefixtures("shipped_runs")
def test_the_max_vio_of_one_sequence_is_that_of_the_end_in_lessons_and_gallery() -> None:
    for name, text in {
        "loss_free": "loss_free",
        "aux_loss-scope-sequence": "aux_loss:scope=sequence",
    }.items():
        once = float(max_vio(by_sequence(f"{name}-seed0")).mean())
        (run,) = (r for r in cached.list_runs() if r.run_id == f"standard-{name}-seed0")
        assert fact(f"sequence_max_vio[{text}; 1]") == pytest.approx(once)
        gallery_frame = ask(computation_batches, run, (1, 2, 4, 8, 12)).filter(sequences=1)
        panel_frame = ask(computation_batches, run).filter(sequences=1)
        assert gallery_frame["max_vio"].mean() == pytest.approx(once)
        assert panel_frame["max_vio"].mean() == pytest.approx(once)


@pytest.mark.usefixtures("shipped_runs")
def test_the_worst_layer_is_the_mean_over_seeds_of_each_runs_own() -> None:
    for arm in ARMS:
        once = worst(arm)
        assert fact(f"worst_layer[{arm}]") == pytest.approx(once)
        runs = [r for r in cached.list_runs() if re.fullmatch(f"standard-{arm}-seed[0-4]", r.run_id)]
        rows = ask(comparison.summary, runs)
        assert final.worst_layer(rows).startswith(final.spread(rows["worst_max_vio"]).split(" ±")[0])
        shown = float(final.worst_layer(rows).split(" ")[0])
        assert shown == pytest.approx(once, abs=0.006)
        printed = comparison_table(
            [{**row, "arm": arm, "label": arm} for row in rows.to_dicts()], get_preset("standard")
        )
        assert f"{once:.3f} ±" in printed


@pytest.mark.usefixtures("shipped_runs")
@pytest.mark.parametrize("figure", ["perplexity", "max_vio_global"])
def test_the_verdict_on_two_arms_is_the_same_for_every_base_in_the_lessons_and_on_the_command_line(
    figure: str,
) -> None:
    recorded = RecordedRuns(STORE, tuple(cached.list_runs()))
    arms = {text: recorded.find(text) for text in COURSE}
    shown = ArmSet(tuple(arms.values()), {arm.token: text for text, arm in arms.items()})
    column = {"perplexity": 1, "max_vio_global": 3}[figure]
    verdicts: dict[frozenset[str], set[bool]] = {}
    for base, arm in arms.items():
        for row in verdict_rows(Trace(STORE), shown, arm, figure):
            assert row["comparisons"] == 6
            verdicts.setdefault(frozenset((base, row["arm"])), set()).add(row["survives"])
        order = [base, *(text for text in arms if text != base)]
        rows = [
            {**row, "arm": text, "label": text}
            for text in order
            for row in ask(comparison.summary, arms[text].runs).to_dicts()
        ]
        printed = comparison_table(rows, get_preset("standard")).split("paired difference to ")[1]
        assert sentence("captions.among_pairs", pairs=6) in printed
        for text in order[1:]:
            (line,) = (line for line in printed.splitlines() if line.startswith(f"{text} "))
            cell = re.split(r"\s{2,}", line)[column]
            survives = not cell.endswith(("alone", sentence("captions.not_significant")))
            verdicts[frozenset((base, text))].add(survives)
    for pair, survivals in verdicts.items():
        assert survivals == {quality_facts.survives(recorded, *sorted(pair), figure)}, pair
    assert len(verdicts) == 6


def test_overview_and_compare_say_the_same_of_chance(open_shipped: Opener) -> None:
    messages = set()
    for page in ("overview", "compare"):
        text = words(open_shipped(page)).replace("\\", "")
        messages |= set(re.findall(pattern("references.last_steps", steps=100) + " [^;]*", text))
    (message,) = messages
    assert sentence("references.independent_tokens") in message
    assert sentence("references.whole_sequences") in message


def test_the_cards_and_the_sentence_of_the_overview_are_of_the_same_steps(open_shipped: Opener) -> None:
    """Both stand beside the baseline of one step's tokens."""
    app = open_shipped("overview")
    text = words(app)
    assert len(app.metric) == 4
    for card in app.metric:
        assert f"{card.value} with" in text
    baseline = metrics.uniform_reference(16, 2, 1536, 4)[0]
    assert sentence("references.random_routing_gives", value=captions.number(baseline)) in text
