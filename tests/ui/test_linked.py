"""Linked views without a browser: orders, events, bias steps and the path above, on the real pages."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from app_pages import Opener, arm_info, words
from sentences import sentence
from store_runs import random_counts, record_steps

from explorer.config.presets import get_preset
from explorer.config.run import BalancerConfig
from explorer.figures import bias_step, expert_order
from explorer.figures.settings import ExpertOrder
from explorer.metrics.events import event_name
from explorer.recording import RunInfo
from explorer.recording.run_writer import RunWriter
from explorer.records.matrix import LoadMatrix
from explorer.routing.bias_step import recompute, rule_in_force
from explorer.ui.replay import expert_order as order_control
from explorer.ui.replay import page as replay
from explorer.ui.replay import playhead

SHIPPED = Path(__file__).parents[2] / "data" / "runs" / "standard-loss_free-seed0"


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shipped loss-free run; and one whose last bias was logged wrong by one bit."""
    folder = tmp_path_factory.mktemp("real")
    shutil.copytree(SHIPPED, folder / SHIPPED.name)
    wrong = folder / "wrong"
    shutil.copytree(SHIPPED, wrong)
    info = json.loads((wrong / "run.json").read_text())
    (wrong / "run.json").write_text(json.dumps({**info, "run_id": "wrong"}))
    file = next(wrong.glob("expert_loads-*.parquet"))
    rows = pl.read_parquet(file)
    cell = (pl.col("step") == 300) & (pl.col("layer") == 1) & (pl.col("expert") == 5)
    off = pl.col("expert_bias") + pl.when(cell).then(1e-6).otherwise(0.0)
    rows.with_columns(off.cast(pl.Float32).alias("expert_bias")).write_parquet(file)
    return folder


def test_a_step_is_opened_with_its_own_numbers(open_app: Opener, real: Path) -> None:
    app = open_app(real, "replay", run=SHIPPED.name, layer="1", step="299", expert="5")
    text = words(app)
    rows = pl.read_parquet(next(SHIPPED.glob("expert_loads-*.parquet"))).filter(
        (pl.col("layer") == 1) & (pl.col("step") == 299)
    )
    tokens = rows.filter(pl.col("expert") == 5)["tokens"][0]
    assert "Bias update" in text
    assert sentence("bias_step.expert_tokens", step=299, expert=5, tokens=tokens) in text
    assert sentence("bias_step.equal_bits", biases=16, step=300) in text
    assert not app.error
    assert not app.exception


def test_what_was_logged_otherwise_is_red_with_both_numbers(open_app: Opener, real: Path) -> None:
    app = open_app(real, "replay", run="wrong", layer="1", step="299", expert="5")
    assert len(app.error) == 1
    assert sentence("bias_step.unequal") in app.error[0].value
    assert "expert 5: " in app.error[0].value
    assert "recomputed" in app.error[0].value
    app = open_app(real, "replay", run="wrong", layer="1", step="298", expert="5")
    assert not app.error


def test_a_run_without_a_bias_has_no_bias_step(open_app: Opener, recorded: Path) -> None:
    app = open_app(recorded, "replay", run="none-seed0")
    assert "Bias update" not in words(app)
    assert not app.exception


@pytest.mark.parametrize(
    ("balancer", "word"),
    [
        ("quantile", sentence("bias_step.all_scores")),
        ("loss_free:load_ema=0.5", "memory 0.5"),
        (None, sentence("config.rule_not_stated_short")),
    ],
)
def test_what_cannot_be_worked_out_says_why(
    open_app: Opener, tmp_path: Path, balancer: str | None, word: str
) -> None:
    config = {}
    if balancer is not None:
        config = replace(get_preset("tiny"), balancer=BalancerConfig.parse(balancer)).to_dict()
    write_biased(tmp_path / "own", "other", 6, config)
    if balancer is None:
        file = tmp_path / "own" / "other" / "run.json"
        stated = {"balancer": "", "balancer_label": "", "balancer_family": "", "count_scope": ""}
        file.write_text(json.dumps(json.loads(file.read_text()) | stated))
    app = open_app(page="replay", run="other", step="3")
    assert word in words(app)
    assert not app.exception


def write_biased(base: Path, run_id: str, steps: int, config: dict[str, object], every: int = 1) -> None:
    """A run of `steps` recorded steps, `every` apart, with biases that nobody's rule made."""
    info = {**arm_info("loss_free", 0), "config": config}
    recorder = RunWriter.create(
        base,
        RunInfo(
            run_id=run_id,
            name=run_id,
            num_moe_layers=2,
            num_experts=4,
            top_k=2,
            tokens_per_step=64,
            num_steps=steps * every,
            **{key: value for key, value in info.items() if key in RunInfo.__dataclass_fields__},
        ),
    )
    counts = random_counts(steps, 2, 4)
    bias = np.random.default_rng(0).normal(size=counts.shape)
    record_steps(recorder, counts, range(0, steps * every, every), bias)
    recorder.finish("finished")


def test_a_step_that_is_not_recorded_has_nothing_to_be_held_against(open_app: Opener, tmp_path: Path) -> None:
    config = replace(get_preset("tiny"), balancer=BalancerConfig.parse("loss_free")).to_dict()
    write_biased(tmp_path / "own", "sparse", 4, config, every=10)
    text = words(open_app(page="replay", run="sparse", step="14"))
    assert sentence("bias_step.expert", step=10) in text
    assert sentence("bias_step.step_gap", step=11, next=20) in text
    last = words(open_app(page="replay", run="sparse", step="30"))
    assert sentence("bias_step.last_step") in last


@pytest.mark.parametrize(
    ("sort", "shown"), [("final load", "final load"), ("bias", "bias"), ("nonsense", "index"), ("", "index")]
)
def test_the_order_of_a_link_is_checked(open_app: Opener, recorded: Path, sort: str, shown: str) -> None:
    app = open_app(recorded, "replay", run="loss_free-seed0", **({"sort": sort} if sort else {}))
    assert app.session_state[order_control.KEY] == shown
    assert (sentence("links.can_be") + " index" in words(app)) == (sort == "nonsense")
    assert not app.exception


def test_a_run_without_biases_is_not_sorted_by_them(open_app: Opener, recorded: Path) -> None:
    app = open_app(recorded, "replay", run="none-seed0", sort="bias")
    assert app.session_state[order_control.KEY] == "index"
    assert sentence("bias_step.no_biases") in words(app)


def test_an_order_is_worked_out_once_for_a_layer(open_app: Opener, recorded: Path) -> None:
    app = open_app(recorded, "replay", run="loss_free-seed0", sort="mean load", layer="1")
    (name, order) = app.session_state[order_control.STABLE_ORDER.key]
    assert name == ("loss_free-seed0", 1, "mean load")
    assert isinstance(order, ExpertOrder)
    # Frozen: the kept order is shown until another one is selected.
    reverse = replace(order, experts=order.experts[::-1])
    app.session_state[order_control.STABLE_ORDER.key] = (name, reverse)
    app.session_state["step"] = 3
    app.run()
    assert app.session_state[order_control.STABLE_ORDER.key][1] == reverse
    app.selectbox(key=order_control.KEY).set_value("final load").run()
    app.selectbox(key=order_control.KEY).set_value("mean load").run()
    assert app.session_state[order_control.STABLE_ORDER.key] == (name, order)


def matrix(tokens: np.ndarray, each: int = 1) -> LoadMatrix:
    steps = np.arange(0, len(tokens) * each, each)
    return LoadMatrix(steps=steps, last_steps=steps + each - 1, tokens=tokens, bias=None)


def test_mean_and_final_loads_count_the_steps_that_they_name() -> None:
    tokens = np.zeros((800, 2), dtype=np.int64)
    tokens[:700, 0], tokens[700:, 1] = 1, 5
    assert expert_order.mean_loads(matrix(tokens), final=False).tolist() == [700, 500]
    assert expert_order.mean_loads(matrix(tokens), final=True).tolist() == [0, 500]
    short = np.repeat(np.array([[1, 0], [0, 1]]), [30, 10], axis=0)
    assert expert_order.mean_loads(matrix(short), final=True).tolist() == [0, 10]
    assert expert_order.mean_loads(matrix(tokens[::10], each=10), final=True).tolist() == [0, 50]


def test_marks_are_the_events_of_the_layer_and_of_the_whole_run() -> None:
    rows = pl.DataFrame(
        {
            "step": [3, 5, 60],
            "layer": [1, 0, None],
            "expert": [2, 1, None],
            "kind": ["death", "death", "balancer_changed"],
            "detail": ["no token in 100 steps", "", "now none"],
        }
    )
    death, changed = event_name("death"), event_name("balancer_changed")
    assert replay.marks(rows, 1, 50) == [
        {
            "step": 3,
            "expert": 2,
            "sign": "✕",
            "label": sentence("bias_step.death_log", death=death, expert=2, steps=100),
        },
        {"step": 50, "expert": None, "sign": "⚑", "label": f"{changed}: now none"},
    ]


def test_formulas_carry_the_numbers_of_the_step() -> None:
    config = replace(
        get_preset("tiny"), balancer=BalancerConfig.parse("loss_free:u=0.5,centred=true,step_decay=sqrt")
    ).to_dict()
    force = rule_in_force(config, 3)
    assert not isinstance(force, str)
    step = recompute(force, np.array([9, 1, 3, 2]), np.zeros(4, np.float32))
    lines = "\n".join(bias_step.formulas(step, 0))
    assert r"\frac{15}{4} = \tfrac{15}{4}" in lines
    assert r"\tfrac{15}{4} - 9 = -\tfrac{21}{4}" in lines
    assert r"u = \frac{0.5}{\sqrt{4}} = 0.25" in lines
    assert "-1 - (0.5) = -1.5" in lines
    assert r"= 0 + 0.25 \cdot (-1.5) = -0.375" in lines
    rms = rule_in_force(
        replace(
            get_preset("tiny"), balancer=BalancerConfig.parse("loss_free:update_rule=rms,freeze_after_step=2")
        ).to_dict(),
        3,
    )
    assert not isinstance(rms, str)
    stopped = bias_step.formulas(recompute(rms, np.array([9, 1, 3, 2]), np.ones(4, np.float32)), 1)
    assert any(r"\mathrm{RMS}(e)" in line for line in stopped)
    assert any(sentence("bias_step.frozen_from", step=2) in line for line in stopped)
    assert stopped[-1].endswith("= 1")


def test_an_event_of_the_list_moves_playhead_layer_and_expert(monkeypatch: pytest.MonkeyPatch) -> None:
    state: dict[str, object] = {"step": 3, "layer": 0, "expert": "all"}
    monkeypatch.setattr(playhead.st, "session_state", state)
    playhead.select_event(50, {"step": 60, "layer": None, "expert": None})
    assert state == {"step": 50, "layer": 0, "expert": "all"}
    playhead.select_event(50, {"step": 7, "layer": 1, "expert": 2})
    assert state == {"step": 7, "layer": 1, "expert": "2"}
    playhead.select_event(50, {"step": 9, "layer": None, "expert": None})
    assert state == {"step": 9, "layer": 1, "expert": "2"}, "the rest stays"


def test_the_list_of_events_opens_on_replay(open_app: Opener, recorded: Path) -> None:
    app = open_app(recorded, "replay", run="loss_free-seed0")
    before = len(app.dataframe)
    app.session_state["events_open"] = True
    app.run()
    assert len(app.dataframe) == before + 1
    assert not app.exception
