"""Events on the pages: in words, on the axes, and in a list that moves the playhead."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from app_pages import Opener, arm_info, load_maps, words
from sentences import sentence
from store_runs import make_info, random_counts, record_steps
from streamlit.testing.v1 import AppTest

from explorer.figures import events
from explorer.figures.arms import Arm, run_from_row
from explorer.recording.run_writer import RunWriter
from explorer.records.records import EventRecord
from explorer.ui.replay import event_list

STEPS = 240


def write(base: Path, name: str, text: str, dead: bool, bias: bool = False) -> None:
    """A run of STEPS steps; in one that has a `dead` expert, layer 1 collapses from step 40 to 190."""
    info = {key: value for key, value in arm_info(text, 0).items() if key != "seed"}
    counts = 5 + random_counts(STEPS, 2, 4)
    if dead:
        counts[40:190, 1, 1:] = 0
    with RunWriter.create(base, make_info(name, **info, num_steps=STEPS)) as recorder:
        biases = 0.001 * counts.cumsum(0) if bias else None
        record_steps(recorder, counts[:200], range(200), None if biases is None else biases[:200])
        if dead:
            recorder.record(EventRecord(step=200, kind="balancer_changed", detail="now loss_free"))
        record_steps(recorder, counts[200:], range(200, STEPS), None if biases is None else biases[200:])


@pytest.fixture
def two(tmp_path: Path) -> None:
    write(tmp_path / "own", "a", "none", dead=True)
    write(tmp_path / "own", "b", "aux_loss", dead=False)


def marks(app: AppTest) -> dict[str, set[str]]:
    """The words of the marks, by what the figure shows."""
    kinds = {}
    for chart in app.get("vega_lite_chart"):
        rows = [row for part in chart.proto.datasets for row in read(part.data.data) if "event_words" in row]
        kinds[chart.proto.alt.split(":")[0]] = {row["event_words"].split(":")[0] for row in rows}
    return kinds


def read(data: bytes) -> list[dict[str, Any]]:
    return pl.read_ipc_stream(data).to_dicts() if data else []


def test_compare_says_and_marks_what_happened(open_app: Opener, two: None) -> None:
    app = open_app(page="compare", runs=["a", "b"], layer=1, part="whole")
    assert not app.exception
    curves = ("MaxVio over training", "Perplexity over training")
    assert [marks(app)[title] for title in curves] == [set(), set()]
    app.toggle(key="events").set_value(True).run()
    app.run()  # the switch draws the parts with marks alone
    text = words(app)
    assert (
        sentence(
            "events.page_list",
            collapse=40,
            deaths=3,
            death=40,
            recovery=190,
            revivals=3,
            revival=190,
            change=200,
        )
        in text
    )
    assert f"{events.NO_COLLAPSE}; {events.NO_DEATH}." in text
    assert "▼ collapse" in text
    shown = marks(app)
    assert shown["MaxVio over training"] == {"collapse in layer 1", sentence("events.rule_change")}
    assert shown["Perplexity over training"] == {"collapse in layer 1", sentence("events.rule_change")}
    heatmap = next(
        shown
        for shown in load_maps(app)
        if shown["alt"].startswith(sentence("captions.load_title") + " no balancing")
    )
    assert {
        sentence(
            "events.two_kinds", collapses=1, collapse_layers="layer 1", deaths=3, death_layers="layer 1"
        ),
        sentence("events.rule_change"),
    } < {mark["text"].split(":")[0] for mark in heatmap["marks"]}
    app.segmented_control(key="x").set_value("tokens").run()
    assert not marks(app)["MaxVio over training"], "events are steps"


def test_the_overview_has_no_event_marks(open_app: Opener, two: None) -> None:
    """The first chart of a visit explains nothing of them."""
    app = open_app(runs=["a", "b"])
    assert not app.exception
    assert not any(marks(app).values())


def test_replay_marks_the_events_of_the_layer(open_app: Opener, tmp_path: Path) -> None:
    write(tmp_path / "own", "c", "loss_free", dead=True, bias=True)
    for layer in (0, 1):
        app = open_app(page="replay", run="c", layer=layer)
        assert not app.exception
        shown = {name.split(".")[0]: words for name, words in marks(app).items()}
        assert (
            sentence(
                "events.two_kinds", collapses=1, collapse_layers="layer 1", deaths=3, death_layers="layer 1"
            )
            in shown[sentence("captions.loss_title")]
        )
        of_biases = shown[sentence("captions.bias_title").removesuffix(" of layer")]
        assert sentence("events.rule_change") in of_biases
        assert any("collapse" in word for word in of_biases) == (layer == 1)


LIST = """
import streamlit as st
from explorer.ui.replay.event_list import event_list
from explorer.ui.shared import cached

run = next(run for run in cached.list_runs() if run.run_id == st.session_state["wanted"])
event_list(run, print)
"""


def list_of(name: str) -> AppTest:
    app = AppTest.from_string(LIST, default_timeout=120)
    app.session_state["wanted"] = name
    return app.run()


def test_the_list_shows_steps_and_words_and_can_be_cut_to_kinds(open_app: Opener, two: None) -> None:
    open_app()
    app = list_of("a")
    assert not app.exception
    table = app.dataframe[0].value
    assert table["step"].tolist() == ["40"] * 4 + ["190"] * 4 + ["200"]
    assert table["event"].tolist()[0] == "collapse"
    assert table.iloc[1].tolist() == [
        "40",
        "✕",
        "death",
        "1",
        "1",
        sentence("events.no_token", steps=150, until=190),
    ]
    assert table.iloc[-1].tolist() == ["200", "⚑", sentence("events.rule_change"), "–", "–", "now loss_free"]
    app.pills[0].set_value(["revival"]).run()
    assert app.dataframe[0].value["event"].tolist() == ["revival"] * 3


def test_a_run_without_events_says_so(open_app: Opener, two: None) -> None:
    open_app()
    app = list_of("b")
    assert not app.dataframe
    text = words(app)
    assert sentence("events.none_of_these", steps=100) in text
    assert events.RULES not in text, "the sentence states the rules by denying them"


def test_a_short_import_says_that_no_event_can_be_found_in_it(open_app: Opener, tmp_path: Path) -> None:
    counts = 5 + random_counts(14, 2, 4)
    counts[7, 0] = 0
    path = tmp_path / "own" / "short"
    with RunWriter.create(
        path.parent, make_info("short", num_steps=14, source="imported:table", phase="unknown")
    ) as recorder:
        record_steps(recorder, counts, range(0, 140, 10))
    app = open_app(page="replay", run="short", layer=0, step=70)
    assert not app.exception
    assert sentence("captions.loads_no_token", step=70) in words(app)
    assert "14 recorded steps, up to step 130" in words(app)
    assert sentence("events.too_short", steps=14) in words(list_of("short"))


def test_more_events_than_are_listed_are_counted(open_app: Opener, two: None, monkeypatch: Any) -> None:
    open_app()
    monkeypatch.setattr(event_list.queries, "events", lambda cur, run_id: FEW_OF_MANY)
    app = list_of("a")
    assert sentence("events.more_of_each_kind", more=7) in words(app)


FEW_OF_MANY = pl.DataFrame(
    {
        "step": [40, 40],
        "layer": [1, 1],
        "expert": [None, 1],
        "kind": ["collapse", "death"],
        "detail": ["x", "y"],
    }
)


DEATH = {"step": 40, "layer": 1, "expert": 1, "kind": "death", "detail": "y"}


def test_a_press_calls_back_with_the_event(monkeypatch: pytest.MonkeyPatch) -> None:
    picked: list[event_list.Event] = []
    for clicked in (None, {"row": 1, "label": "40"}, {"row": 9, "label": "gone"}):
        monkeypatch.setattr(event_list.st, "session_state", {"k": clicked})
        event_list._on_button("k", FEW_OF_MANY, picked.append)
    assert picked == [DEATH]


@pytest.mark.parametrize(("cells", "wanted"), [([], 0), ([(1, "what")], 1), ([(7, "what")], 0)])
def test_a_cell_that_is_entered_calls_back_too(
    monkeypatch: pytest.MonkeyPatch, cells: list[tuple[int, str]], wanted: int
) -> None:
    picked: list[event_list.Event] = []
    monkeypatch.setattr(event_list.st, "session_state", {"k": {"selection": {"cells": cells}}})
    event_list._on_cell("k", FEW_OF_MANY, picked.append)
    assert picked == [DEATH] * wanted


def arm(*run_ids: str) -> Arm:
    rows = [
        {"run_id": r, "path": "", "name": r, "state": "finished", "seed": i, "num_moe_layers": 4}
        for i, r in enumerate(run_ids)
    ]
    known = ("dir_kind", "preset", "balancer", "balancer_label", "balancer_family", "count_scope", "pair_key")
    more = ("config", "created_at", "problem", "message")
    runs = tuple(run_from_row({**dict.fromkeys((*known, *more)), "last_step": 9, **row}) for row in rows)
    return Arm(token="t", label="l", runs=runs)


COUNTS = pl.DataFrame(
    {
        "run_id": ["a", "a", "a", "b"],
        "kind": ["collapse", "loss_spike", "note", "collapse"],
        "events": [3, 2, 1, 1],
        "layers": [[0, 2], [], [], [1]],
        "first_step": [61, 70, 80, 50],
    }
)


def test_sentences_count_layers_of_a_run_and_seeds_of_a_group() -> None:
    assert events.arm_sentence(arm("a"), COUNTS) == sentence(
        "events.layers_list", collapse=61, spikes=2, spike=70, no_death=events.NO_DEATH
    )
    assert events.arm_sentence(arm("a", "b", "c"), COUNTS).startswith(
        sentence("events.seeds_list", collapsed=2, seeds=3, collapse=50, spiked=1, spike=70)
    )
    assert events.arm_sentence(arm("c"), COUNTS) == f"{events.NO_COLLAPSE}; {events.NO_DEATH}"


def test_the_legend_names_what_is_there() -> None:
    assert events.legend(["loss_spike", "collapse", "odd_thing"]) == sentence(
        "events.legend", other="odd thing"
    )
    assert events.legend([]) == ""


def test_the_note_explains_numbers_and_mixed_marks_where_there_are_some() -> None:
    rows = {"step": [10, 12, 400], "layer": [0, 0, 0], "kind": ["collapse", "death", "death"]}
    some = pl.DataFrame(rows)
    assert events.marks_note(some) == " " + sentence(
        "events.marks_at_top",
        marks="✕ death · ▼ collapse · ≡ of several kinds; a number counts events close together.",
    )
    assert events.marks_note(some, since=11) == " " + sentence("events.marks_at_top", marks="✕ death.")
    assert events.marks_note(some, several=True) == " " + sentence("events.marks_at_top", marks="▼ collapse.")
    assert events.marks_note(some, since=500) == ""
