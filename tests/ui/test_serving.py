"""The Serving page: it opens on any run with loads, follows its controls, and its address."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from app_pages import Opener, charts, words
from foreign_files import import_one, random_counts
from probe_runs import write_probe_run
from sentences import pattern, sentence
from store_runs import write_run
from streamlit.testing.v1 import AppTest

from explorer.ui.serving import batch, verdict


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("probed")
    write_probe_run(folder, "free")
    write_run(folder, "other", steps=24, layers=2, experts=8, seed=3)
    return folder


def test_it_shows_loads_verdict_and_batch_selection(open_app: Opener, probed: Path) -> None:
    app = open_app(probed, "serving", run="free")
    assert not app.exception
    assert not app.error
    assert charts(app) == 11
    text = words(app)
    assert any(answer in text for answer in verdict.BADGES)
    assert all(heading in text for heading in batch.HEADINGS.values())
    for chart in app.get("vega_lite_chart"):
        assert len(chart.proto.alt) > 30


def test_controls_change_the_verdict(open_app: Opener, probed: Path) -> None:
    app = open_app(probed, "serving", run="free", plan="1", judge="2")
    before = words(app)
    assert sentence("serving.planned_and_judged", plan="steps 0–5", judge="steps 6–11") in before
    app.selectbox(key="judge").set_value("held-out python").run()
    assert not app.exception
    assert sentence("serving.planned_and_judged", plan="steps 0–5", judge="held-out Python") in words(app)
    app.selectbox(key="placement").set_value("hierarchical").run()
    assert not app.exception
    assert "groups" in app.session_state


def test_another_page_does_not_choose_the_probe(open_app: Opener, probed: Path) -> None:
    """One address, one answer: the Microscope's step stays there."""
    fresh = open_app(probed, "serving", run="free")
    first, last = int(fresh.button_group(key="probe").options[0]), fresh.session_state["probe"]
    assert first != last
    assert sentence("serving.scores_after", updates=last) in words(fresh)
    app = open_app(probed, "serving", run="free", probe=first)
    assert sentence("serving.scores_after", updates=first) in words(app)
    app.session_state["url_page"] = "microscope"
    app.query_params.pop("probe", None)
    app.session_state["probe"] = first
    app.run()
    assert sentence("serving.scores_after", updates=last) in words(app)


def drawn(app: AppTest) -> set[object]:
    """Every sentence and every chart with its rows."""
    return {*(text.value for text in app.markdown), *map(_content, app.get("vega_lite_chart"))}


def _content(chart: Any) -> bytes:
    return bytes(chart.proto.SerializeToString())


@pytest.mark.parametrize(
    ("key", "option", "panels"), [("copies", "2", 4), ("layer", 1, 10), ("hot", "2", 11)]
)
def test_a_control_draws_what_it_changes(
    open_app: Opener, probed: Path, key: str, option: str | int, panels: int
) -> None:
    app = open_app(probed, "serving", run="free")
    before = drawn(app)
    kind = app.button_group if key == "layer" else app.select_slider
    kind(key=key).set_value(option).run()
    assert not app.exception
    assert charts(app) == panels
    fresh = drawn(open_app(probed, "serving", run="free", **{key: option}))
    assert fresh - before, "the control changes something"
    assert fresh - before <= drawn(app) <= fresh


def test_the_options_of_a_layout_follow_from_each_other(open_app: Opener, probed: Path) -> None:
    app = open_app(probed, "serving", run="free", gpus="4", nodes="4")
    app.select_slider(key="gpus").set_value("2").run()
    assert not app.exception
    assert app.session_state["nodes"] in ("1", "2")
    fresh = drawn(open_app(probed, "serving", run="free", gpus="2", nodes=app.session_state["nodes"]))
    assert drawn(app) <= fresh


def test_another_run_judges(open_app: Opener, probed: Path) -> None:
    app = open_app(probed, "serving", run="other", judged="free", plan="4", judge="4")
    assert not app.exception
    plan, judge = "no balancing, seed 3, steps 18–23", re.compile(r"loss-free .*, seed 0, steps 18–23")
    assert re.search(pattern("serving.planned_and_judged", plan=plan, judge=judge), words(app))
    assert sentence("serving.no_scores") in words(app)


def test_a_link_to_a_run_that_cannot_judge_says_so(open_app: Opener, probed: Path, recorded: Path) -> None:
    app = open_app(probed, "serving", run="free", judged="gone")
    assert not app.exception
    assert sentence("serving.other_layers") in words(app)


@pytest.mark.parametrize("files", [1, 2])
def test_a_snapshot_opens_alone_and_beside_another(open_app: Opener, tmp_path: Path, files: int) -> None:
    for number in range(files):
        np.save(tmp_path / f"snapshot{number}.npy", random_counts(steps=1)[0] * (number + 1))
        import_one(tmp_path / f"snapshot{number}.npy", tmp_path / "import", run_id=f"snapshot{number}")
    (tmp_path / "import" / "runs").rename(tmp_path / "own")
    app = open_app(page="serving")
    assert not app.exception
    assert not app.error
    answer = "Too little evidence" if files == 1 else "planned on"
    assert answer in words(app)
