"""The part of Compare that shows how rules act: with gradients, without, and beside runs that lack them."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from app_pages import Opener, arm_info, words
from sentences import sentence
from store_runs import make_info, random_counts, record_steps
from streamlit.testing.v1 import AppTest

from explorer.recording.run_writer import RunWriter
from explorer.records.records import EventRecord, LayerRecord


def write(base: Path, name: str, text: str, *, gradients: bool, event: str = "") -> None:
    """Four steps; a bias rule has switched slots, a loss has a second gradient."""
    info = {key: value for key, value in arm_info(text, 0).items() if key != "seed"}
    with RunWriter.create(base, make_info(name, **info)) as recorder:
        counts = random_counts(4, 2, 4)
        if event:
            recorder.record(EventRecord(step=2, kind=event, detail="so it was"))
        for step in range(4):
            pair = np.array([0.5, 0.7], dtype=np.float32)
            has_aux = gradients and "aux" in text
            recorder.record(
                LayerRecord(
                    step=step,
                    score_margin_L=pair,
                    switched_slots_L=np.array([8, 16]) if "loss_free" in text else None,
                    router_grad_norm_lm_L=pair if gradients else None,
                    router_grad_norm_aux_L=pair / 2 if has_aux else None,
                    router_grad_cosine_L=-pair if has_aux else None,
                )
            )
            record_steps(recorder, counts[step : step + 1], [step])


SECTIONS = ("gradients", "margin", "churn")


@pytest.fixture
def open_mechanism(open_app: Opener) -> Opener:
    """`open_mechanism("a", "b")`: Compare with these runs and its sections on the mechanism open."""

    def opened(*runs: str) -> AppTest:
        app = open_app(page="compare", runs=list(runs))
        for anchor in SECTIONS:
            app.session_state[f"section_{anchor}"] = True
        return app.run()

    return opened


def figures(app: AppTest) -> list[str]:
    return [chart.proto.alt for chart in app.get("vega_lite_chart")]


def test_gradients_are_shown_with_words_and_tables(open_mechanism: Opener, tmp_path: Path) -> None:
    write(tmp_path / "own", "a", "aux_loss", gradients=True)
    write(tmp_path / "own", "b", "loss_free", gradients=True)
    app = open_mechanism("a", "b")
    assert not app.exception
    assert sentence("captions.gradient_at_routers", share="50.0 %") in words(app)
    assert sentence("captions.gradient_none_short", arm="loss-free") in words(app)
    assert "−0.60 on average" in words(app)
    assert any(alt.startswith(sentence("captions.gradient_title")) for alt in figures(app))
    assert any(alt.startswith(sentence("captions.cosine_title")) for alt in figures(app))
    assert any(alt.startswith(sentence("captions.switched_title")) for alt in figures(app))


def test_runs_without_gradients_say_so_and_show_the_rest(open_mechanism: Opener, tmp_path: Path) -> None:
    write(tmp_path / "own", "a", "aux_loss", gradients=False)
    write(tmp_path / "own", "b", "none", gradients=False)
    app = open_mechanism("a", "b")
    assert not app.exception
    assert sentence("compare.no_gradients") in words(app)
    assert not any("Router gradient norms" in alt for alt in figures(app))
    assert any(alt.startswith("Router margin") for alt in figures(app))
    assert sentence("captions.no_bias_in_runs") in words(app)
    assert sentence("captions.kept_probe") in words(app)


def test_an_arm_that_lacks_them_beside_one_that_has_them_is_named(
    open_mechanism: Opener, tmp_path: Path
) -> None:
    write(tmp_path / "own", "a", "aux_loss", gradients=True)
    write(tmp_path / "own", "b", "none", gradients=False)
    app = open_mechanism("a", "b")
    assert sentence("captions.not_recorded", arm="no balancing") in words(app)


def marks_of(app: AppTest) -> dict[str, list[str]]:
    """Subject of a chart -> the events that it marks."""
    return {
        chart.proto.alt.split(":")[0]: [
            row["event_words"]
            for part in chart.proto.datasets
            if part.data.data
            for row in pl.read_ipc_stream(part.data.data).to_dicts()
            if "event_words" in row
        ]
        for chart in app.get("vega_lite_chart")
    }


def test_events_are_marked_where_the_switch_says_so(open_mechanism: Opener, tmp_path: Path) -> None:
    """One switch for the curves and for these charts, which are fragments of their own."""
    write(tmp_path / "own", "a", "aux_loss", gradients=True, event="balancer_changed")
    app = open_mechanism("a")
    assert not any(marks_of(app).values())
    assert sentence("events.marks_at_top", marks="⚑ rule change") not in words(app)
    app.toggle(key="events").set_value(True).run()
    assert not app.exception
    marked = {subject for subject, marks in marks_of(app).items() if marks}
    assert {"Router margin", "Router gradient norms", sentence("captions.cosine_title")} <= marked
    app.toggle(key="events").set_value(False).run()
    assert not any(marks_of(app).values())


def test_a_figure_of_one_run_has_the_marks_of_that_run_alone(open_mechanism: Opener, tmp_path: Path) -> None:
    """Only the auxiliary loss has a cosine: what happened to the others is not marked and not explained."""
    write(tmp_path / "own", "a", "aux_loss", gradients=True)
    write(tmp_path / "own", "b", "loss_free", gradients=True, event="balancer_changed")
    app = open_mechanism("a", "b")
    app.toggle(key="events").set_value(True).run()
    assert not app.exception
    marks = marks_of(app)
    assert marks[sentence("captions.cosine_title")] == []
    assert marks["Router margin"] == [sentence("events.rule_change") + ": so it was"]
    text = words(app)
    assert sentence("captions.rule_without_line") in text
    assert sentence("captions.rule_without_line") + " Marks at the top" not in text
    assert sentence("events.marks_at_top", marks="⚑ rule change") in text
