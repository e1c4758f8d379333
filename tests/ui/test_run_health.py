"""The first panel of Replay: what is wrong with the run, with links to the places."""

from pathlib import Path

import numpy as np
import pytest
from app_pages import Opener, words
from unhealthy_runs import E, K, T, record

from explorer.ui.replay import playhead

NOTHING = "Run health: nothing wrong found."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose layer 1 collapses at step 60 and an even one."""
    base = tmp_path_factory.mktemp("health")
    counts = np.full((240, 2, E), K * T // E)
    record(base, counts, None, run_id="even", balancer="aux_loss")
    counts[60:, 1] = 0
    counts[60:, 1, :2] = T
    record(base, counts, None, run_id="collapsed", balancer="aux_loss")
    return base


def test_one_line_where_nothing_is_wrong(open_app: Opener, folder: Path) -> None:
    app = open_app(folder, "replay", run="even")
    assert not app.exception
    assert NOTHING in words(app)
    assert not [button for button in app.button if "step 60" in button.label]


def test_a_finding_has_its_sentence_and_a_link_to_its_place(
    open_app: Opener, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # `AppTest` forgets the pages where a fragment reruns alone, and links to them fail.
    monkeypatch.setattr(playhead, "draw_panels", lambda: None)
    app = open_app(folder, "replay", run="collapsed")
    assert not app.exception
    assert NOTHING not in words(app)
    assert "Layer 1 has collapsed since step 60" in words(app)
    [button] = [button for button in app.button if button.key == "health_collapse_1"]
    assert button.label == "Layer 1, step 60"
    button.click()
    app.run()
    assert not app.exception
    assert (app.session_state["layer"], app.session_state["step"]) == (1, 60)
