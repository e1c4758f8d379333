"""Every figure of a page is known to its export, with the SQL that its numbers came from."""

from pathlib import Path

from app_pages import Opener, figures_of


def test_the_figures_of_a_page_are_entered_with_their_statements(open_app: Opener, recorded: Path) -> None:
    app = open_app(recorded, "compare", runs=["none-seed0", "loss_free-seed0"])
    figures = figures_of(app)
    assert figures.page == "compare"
    panel = figures.panels["compare-max-vio"]
    assert panel.table is not None
    assert not panel.table.is_empty()
    assert any("max_vio_sum" in statement.sql for statement in panel.statements)
    runs = {statement.params.get("run_id") for statement in panel.statements}
    assert "loss_free-seed0" in runs, "a merged frame knows the statements of what it was merged from"


def test_an_answer_from_the_cache_still_knows_its_statements(open_app: Opener, recorded: Path) -> None:
    first = figures_of(open_app(recorded, "replay", run="loss_free-seed0").run())
    again = figures_of(open_app(recorded, "replay", run="loss_free-seed0").run().run())
    key = "replay-biases"
    assert first.panels[key].statements
    assert again.panels[key].statements == first.panels[key].statements


def test_another_page_begins_anew(open_app: Opener, recorded: Path) -> None:
    app = open_app(recorded, "compare")
    app.switch_page("../../pages/replay.py").run()
    assert not any(key.startswith("compare") for key in figures_of(app).panels)
