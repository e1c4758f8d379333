"""The numbers of the Overview, against the run folders themselves: integer counts and held-out losses."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from app_pages import ARMS, Opener
from arm_runs import run
from sentences import sentence

from explorer import metrics
from explorer.charts import captions
from explorer.figures import balance
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import arms_of, run_from_row
from explorer.figures.opening import LoadFilm, opening_films
from explorer.figures.store import OpenStore
from explorer.queries.runs import list_runs
from explorer.recording import RunFolder
from explorer.store import Index
from explorer.ui.overview import page


def figures(path: Path) -> dict[str, float]:
    """What a run's files say, without index or SQL."""
    folder = RunFolder(path)
    loads = folder.read("expert_loads").sort("step", "layer", "expert")
    steps, layers = loads["step"].n_unique(), loads["layer"].n_unique()
    held_out = folder.read("eval_loads")
    held_out = held_out.filter(pl.col("step") == held_out["step"].max())
    counts = held_out.group_by("layer", "expert").agg(pl.col("tokens").sum()).sort("layer", "expert")
    evals = folder.read("evals")
    evals = evals.filter(pl.col("step") == evals["step"].max())
    per_layer = counts["tokens"].to_numpy().reshape(layers, -1)
    return {
        "perplexity": metrics.perplexity(dict(zip(evals["domain"], evals["lm_loss"], strict=True))),
        "MaxVio held-out": metrics.max_vio_global(per_layer),
        "worst layer": metrics.worst_layer(per_layer)[1],
        "MaxVio last steps": metrics.max_vio_batch(
            loads["tokens"].to_numpy().reshape(steps, layers, -1), steps
        ),
    }


def test_the_cards_are_means_over_seeds(open_app: Opener, recorded: Path) -> None:
    app = open_app(recorded)
    expected = []
    for name in ARMS.values():
        runs = [figures(recorded / f"{name}-seed{seed}") for seed in (0, 1)]
        violation = float(np.mean([run["MaxVio last steps"] for run in runs]))
        perplexity = float(np.mean([run["perplexity"] for run in runs]))
        expected.append((captions.number(violation), f"perplexity {captions.number(perplexity)}"))
    assert sorted((card.value, card.delta) for card in app.metric) == sorted(expected)


def test_the_table_of_runs_shows_what_their_files_say(open_app: Opener, recorded: Path) -> None:
    table = open_app(recorded).dataframe[0].value
    for row in table.to_dict("records"):
        run_id = row["run"].rpartition("=")[2]
        for name, value in figures(recorded / run_id).items():
            assert row[name] == pytest.approx(value, rel=1e-9), (run_id, name)
    assert len(table) == 8


@pytest.mark.parametrize(
    ("balancer", "title"), [("none", "Without balancing"), ("loss_free", "Loss-free balancing")]
)
def test_a_picture_of_the_opening_says_whose_loads_it_shows(balancer: str, title: str) -> None:
    film = LoadFilm(
        run=run("one", balancer),
        layer=2,
        last_steps=np.arange(3),
        load_ratio=np.ones((3, 16)),
        max_vio=3.543,
        nearly_idle=7,
    )
    shown = page._film(film)
    assert shown["title"] == title
    assert "4.54× the uniform load (MaxVio 3.54)" in shown["finding"]
    assert "Over all layers and seeds" in shown["finding"]
    assert sentence("overview.nearly_idle", idle=7, experts=16) in shown["finding"]
    assert shown["experts"] == 16


def test_pictures_and_cards_of_the_overview_agree(recorded: Path, tmp_path: Path) -> None:
    """One quantity: what a picture says of the busiest expert is the MaxVio of its arm's card, plus 1."""
    with Index.open(tmp_path / "index.duckdb") as index:
        index.ingest([recorded])
        with index.cursor() as cur:
            arms = arms_of([run_from_row(row) for row in list_runs(cur).to_dicts()])
        films = opening_films(OpenStore(index), arms)
    assert films is not None
    for film, name in zip(films, ("none", "loss_free"), strict=True):
        seeds = [figures(recorded / f"{ARMS[name]}-seed{seed}")["MaxVio last steps"] for seed in (0, 1)]
        assert film.max_vio == pytest.approx(float(np.mean(seeds)), rel=1e-9)


def test_the_floor_of_whole_sequences_is_said_where_it_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    arms = ArmSet.of(arms_of([run("one", "loss_free")]))
    (arm,) = arms
    levels = {"uniform": (0.12, 0.2)}
    baselines = balance.Baselines(levels=levels, arm=arm.token)
    monkeypatch.setattr(balance, "random_baselines", lambda _trace, _arms: baselines)
    store: Any = None
    assert balance.floor_of_sequences(store, arms) == ""
    levels["resampled"] = (0.271, 0.35)
    floor = sentence("overview.floor", level="0.27", arm=arms.names[arm.token])
    assert balance.floor_of_sequences(store, arms).endswith(floor)
