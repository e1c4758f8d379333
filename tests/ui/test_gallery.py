"""The gallery: figures of the paper from shipped runs, or an honest sentence."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from app_pages import Opener, charts, words, write_arms
from sentences import sentence
from shipped_tables import table as shipped_table
from store_runs import write_run

from explorer.figures.arms import run_from_row
from explorer.figures.computation_batches import batch_sentence
from explorer.figures.one_step import update_sentence
from explorer.figures.views.gallery import ShippedRuns
from explorer.metrics import LAST_RECORDED, max_vio
from explorer.queries.runs import list_runs
from explorer.store import Index
from explorer.ui.gallery.text import SECTIONS
from explorer.ui.shared.panels import KEY


def test_a_section_points_at_no_file_that_a_visitor_of_the_app_cannot_open() -> None:
    assert not [section.number for section in SECTIONS if "docs/" in section.paper + section.page]


def test_every_figure_that_has_data_is_drawn_and_the_others_say_why(open_shipped: Opener) -> None:
    app = open_shipped("gallery")
    panels = app.session_state[KEY].panels
    assert list(panels) == [f"gallery-{n}" for n in (1, 2, 3, 4, 5, 6, 9)]
    assert charts(app) == len(panels)
    text = words(app)
    assert all(f"Figure {n}:" in text for n in (1, 2, 3, 4, 5, 6, 9))
    assert "Figures 7 and 8:" in text
    assert sentence("gallery.sigmoid_only") in text
    assert "Paired seeds, first comparison of “Size of computation batches”:" in text
    assert all(panel.statements for panel in panels.values())
    _one_step_is_that_of_the_run(panels["gallery-1"].table)
    _batches_are_those_of_the_counts(panels["gallery-5"].table)


def test_only_finished_shipped_runs_are_drawn(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", steps=6)
    with Index.open(tmp_path / "index.duckdb") as index:
        index.ingest([tmp_path / "runs"])
        with index.cursor() as cur:
            (row,) = list_runs(cur).to_dicts()
    finished = replace(run_from_row(row), shipped=True)
    stopped, own = replace(finished, state="stopped"), replace(finished, shipped=False)
    assert finished.state == "finished"
    assert ShippedRuns((stopped, finished, own)).runs == [finished]


def _one_step_is_that_of_the_run(table: pl.DataFrame) -> None:
    """Every bias moves by u against its load, as Algorithm 1 says, in the numbers of the run's own files."""
    loads = shipped_table("loss_free-seed0", "expert_loads")
    now = loads.filter((pl.col("step") == table["step"][0]) & (pl.col("layer") == 0)).sort("expert")
    assert table["tokens"].to_list() == now["tokens"].to_list()
    mean = now["tokens"].sum() / now.height
    expected = now["expert_bias"].to_numpy() + 0.003 * np.sign(mean - now["tokens"].to_numpy())
    assert np.allclose(table["next_bias"].to_numpy(), expected, atol=1e-6)


def _batches_are_those_of_the_counts(table: pl.DataFrame) -> None:
    """The whole step and one sequence, counted here without SQL."""
    rows = shipped_table("loss_free-seed0", "sequence_loads").filter(split="train")
    steps = sorted(rows["step"].unique())[-LAST_RECORDED:]
    kept = rows.filter(pl.col("step").is_in(steps)).sort("step", "micro_batch", "sequence", "layer", "expert")
    counts = kept["tokens"].to_numpy().reshape(len(steps), -1, 4, 16)
    mine = table.filter(run_id="standard-loss_free-seed0").sort("sequences")
    assert mine["sequences"].to_list() == [1, 2, 4, 8, 12]
    assert mine["max_vio"][0] == pytest.approx(float(max_vio(counts).mean()))
    assert mine["max_vio"][-1] == pytest.approx(float(max_vio(counts.sum(1)).mean()))


def test_without_shipped_runs_the_gallery_says_so(open_app: Opener) -> None:
    app = open_app(None, "gallery")
    assert sentence("gallery.none_here") in words(app)
    assert charts(app) == 0


def test_runs_that_a_figure_needs_and_that_are_not_here_are_named(open_app: Opener, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "runs"
    write_arms(folder, (0,))
    app = open_app(folder, "gallery")
    assert not app.exception
    assert sentence("gallery.not_drawn", routing="expert_choice") in words(app).replace("\\", "")


def test_sentences_of_nothing_are_sentences() -> None:
    empty = pl.DataFrame(
        schema={
            "expert": pl.Int32,
            "load_ratio": pl.Float64,
            "expert_bias": pl.Float32,
            "next_bias": pl.Float32,
        }
    )
    assert update_sentence(empty).endswith(".")
    batches = pl.DataFrame(
        schema={"run_id": pl.String, "tokens": pl.Float64, "max_vio": pl.Float64, "uniform": pl.Float64}
    )
    assert batch_sentence(batches, {"a": "A"}).endswith(".")


def test_the_sentence_counts_who_moved_against_the_load() -> None:
    frame = pl.DataFrame(
        {
            "expert": [0, 1, 2],
            "load_ratio": [2.0, 0.5, 0.5],
            "expert_bias": [0.0, 0.0, 0.0],
            "next_bias": [-0.5, 0.5, -0.5],
        }
    )
    assert update_sentence(frame).startswith(
        sentence("gallery.bias_moves", over=1, experts=3, fell=1, under=2)
    )
    assert "1 of theirs rose" in update_sentence(frame)
