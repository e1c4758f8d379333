"""The Microscope page: its numbers are those of the run; a link opens its state or a notice says why not."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from app_pages import Opener, charts, words
from probe_runs import (
    LENGTH,
    WORDS,
    probe_info,
    probe_record,
    rule_biases,
    write_probe_run,
)
from sentences import sentence
from store_runs import DOMAINS, random_counts

from explorer.config.presets import get_preset, preset_balancer
from explorer.figures.bias_step import number
from explorer.figures.probe_batch import RoutedBatch, probe_text, route, token_table, visible
from explorer.recording import RunFolder
from explorer.running.into_folder import train_run
from explorer.ui.microscope import page
from explorer.ui.microscope.formulas import steps as formula_steps
from explorer.wording import domain_name


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def test_without_a_probe_the_page_says_how_to_get_one(open_app: Opener, recorded: Path) -> None:
    app = open_app(recorded, "microscope")
    assert not app.exception
    assert "training.probe\\_tokens=1024" in words(app)
    assert charts(app) == 0


def test_it_opens_on_a_biased_run_at_a_probe_whose_update_can_be_shown(
    open_app: Opener, probed: Path
) -> None:
    app = open_app(probed, "microscope")
    assert not app.exception
    assert not app.error
    assert app.selectbox(key="run").value == "free"
    assert app.session_state["probe"] == 12
    assert sentence("bias_step.equal_bits", biases=8, step=13) in words(app)
    assert charts(app) >= 8
    for chart in app.get("vega_lite_chart"):
        assert len(chart.proto.alt) > 30


def test_the_numbers_of_a_token_are_those_that_were_recorded(open_app: Opener, probed: Path) -> None:
    token, layer, step = 9, 1, 12
    app = open_app(probed, "microscope", run="free", layer=layer, probe=step, token=token)
    bias = rule_biases(random_counts(25, 2, 8))[step]
    record = probe_record(step, bias, 2, 8, 2)
    score = sigmoid(record.router_logits_PLE[token, layer].astype(float))
    experts = record.selected_experts_PLK[token, layer].tolist()
    text = words(app)
    for expert in experts:
        assert f"s_{{{expert}}} + b_{{{expert}}} &= {score[expert]:.4f}" in text
        assert f"= {score[expert] + bias[layer, expert]:.4f}" in text
        gate = score[expert] / score[experts].sum()
        assert re.search(rf"g_\{{{expert}\}} &= .*= {gate:.4f}", text)
    counts = random_counts(25, 2, 8)[step, layer]
    moved = rule_biases(random_counts(25, 2, 8))[step + 1, layer, experts[0]]
    assert (
        sentence("bias_step.expert_tokens", step=step, expert=experts[0], tokens=f"{counts[experts[0]]:,}")
        in text
    )
    formulas = "\n".join(element.value for element in app.latex)
    assert rf"\frac{{{counts.sum()}}}{{8}}" in formulas
    assert rf"= {number(moved)}\end" in formulas
    assert (
        sentence(
            "microscope.token_in_text",
            token=token,
            word=visible(WORDS[token % len(WORDS)]),
            domain=domain_name(DOMAINS[token // LENGTH]),
        )
        in text
    )


def test_a_bias_that_does_not_follow_the_rule_is_said_in_red(open_app: Opener, tmp_path: Path) -> None:
    write_probe_run(tmp_path / "own", break_update_at=12)
    app = open_app(page="microscope", probe=12)
    assert not app.exception
    assert len(app.error) == 1
    assert sentence("bias_step.unequal") in app.error[0].value


def test_a_choice_that_the_logits_do_not_explain_is_said_in_red(open_app: Opener, tmp_path: Path) -> None:
    # Trained with K = 2, but the configuration says that one expert is chosen.
    write_probe_run(tmp_path / "own", **{**probe_info(top_k=1), "top_k": 2})
    app = open_app(page="microscope")
    assert not app.exception
    assert sentence("microscope.experts_differ", count=16, tokens=16) in "".join(e.value for e in app.error)


def test_a_run_without_a_bias_says_so(open_app: Opener, probed: Path) -> None:
    app = open_app(probed, "microscope", run="plain")
    assert not app.exception
    assert app.session_state["probe"] == 24
    text = words(app)
    assert sentence("microscope.scores_decide") in text
    assert sentence("microscope.no_bias_here") in text
    assert "TopK}(s + b)" not in text


def test_the_last_probe_has_no_update_and_says_so(open_app: Opener, probed: Path) -> None:
    text = words(open_app(probed, "microscope", run="free", probe=24))
    assert sentence("microscope.never_trained", step=24) in text


@pytest.mark.parametrize(
    ("query", "message", "key", "fallback"),
    [
        ({"run": "gone"}, sentence("links.unknown_run", run="gone"), "run", "free"),
        ({"run": "without"}, sentence("microscope.no_probe"), "run", "free"),
        ({"run": "free", "probe": "5"}, "probed after 2, 12 and 24", "probe", 12),
        ({"run": "free", "probe": "soon"}, sentence("links.unknown_probe", value="soon"), "probe", 12),
        ({"run": "free", "layer": "9"}, "names layer 9", "layer", 0),
        ({"run": "free", "token": "16"}, sentence("links.unknown_token", first=0, last=15), "token", None),
        ({"run": "free", "token": "-1"}, "names token -1", "token", None),
        ({"run": "free", "expert": "8"}, "names expert 8", "expert", "all"),
        (
            {"run": "free", "colour": "blue"},
            sentence("links.unknown_colours", value="blue"),
            "colour",
            "first",
        ),
    ],
)
def test_what_a_link_cannot_have_is_said(
    open_app: Opener, probed: Path, query: dict[str, str], message: str, key: str, fallback: object
) -> None:
    app = open_app(probed, "microscope", **query)
    assert not app.exception
    assert message in words(app)
    assert len(app.warning) == 1
    if fallback is not None:
        assert app.session_state[key] == fallback
    assert charts(app) >= 8


def test_a_link_chooses_everything(open_app: Opener, probed: Path) -> None:
    query = {"run": "free", "probe": "2", "layer": "1", "token": "0", "expert": "5", "colour": "all"}
    app = open_app(probed, "microscope", **query)
    assert not app.exception
    assert not app.warning
    assert app.number_input(key="token").value == 0
    text = words(app)
    assert sentence("microscope.token", token=0) in text
    assert "Expert 5" in text
    assert sentence("bias_step.expert_load", step=2, expert=5) in text


def test_choosing_follows_in_every_panel(
    open_app: Opener, probed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # `AppTest` forgets the pages where a fragment reruns alone, and links to them fail.
    monkeypatch.setattr(page, "follow_expert", lambda: None)
    app = open_app(probed, "microscope", run="free")
    app.number_input(key="token").set_value(3).run()
    assert sentence("microscope.token", token=3) in words(app)
    app.selectbox(key="expert").set_value("6").run()
    text = words(app)
    assert "Expert 6" in text
    assert sentence("bias_step.expert_load", step=12, expert=6) in text
    assert not app.exception


@pytest.mark.parametrize(("query", "named"), [({}, set()), ({"panel": "microscope-onward"}, {"0", "1"})])
def test_an_axis_names_its_layer_where_no_control_changes_it(
    open_app: Opener, probed: Path, query: dict[str, str], named: set[str]
) -> None:
    """Beside the control the browser would draw the chart of another layer anew."""
    specs = [
        chart.proto.spec
        for layer in ("0", "1")
        for chart in open_app(probed, "microscope", run="free", layer=layer, **query).get("vega_lite_chart")
        if '"title": "share of its tokens' in chart.proto.spec
    ]
    assert len(specs) >= 4
    assert set(re.findall(r"share of its tokens, in layer (\d)", " ".join(specs))) == named


def test_a_broken_probe_document_leaves_numbers(open_app: Opener, tmp_path: Path) -> None:
    write_probe_run(tmp_path / "own", document={"tokens": ["one"], "sequence_length": 0})
    app = open_app(page="microscope", token=4)
    assert not app.exception
    text = words(app)
    assert sentence("microscope.no_probe_file") in text
    assert (
        sentence("microscope.token", token=4) + " “\\#4”" in text
        or sentence("microscope.token", token=4) + " “#4”" in text
    )


def test_a_configuration_that_is_not_ours_shows_what_was_recorded(open_app: Opener, tmp_path: Path) -> None:
    write_probe_run(tmp_path / "own", config={"model": {"num_experts": 8}})
    app = open_app(page="microscope", token=4)
    assert not app.exception
    text = words(app)
    assert sentence("microscope.no_score_function") in text
    assert sentence("microscope.token", token=4) in text


def test_one_expert_per_token_has_no_coselected_experts(open_app: Opener, tmp_path: Path) -> None:
    write_probe_run(tmp_path / "own", top_k=1, **probe_info(top_k=1))
    app = open_app(page="microscope")
    assert not app.exception
    assert sentence("microscope.no_shared_tokens") in words(app)


def test_a_single_layer_and_a_single_probe_are_shown(open_app: Opener, tmp_path: Path) -> None:
    write_probe_run(tmp_path / "own", layers=1, probes=(24,))
    app = open_app(page="microscope")
    assert not app.exception
    text = words(app)
    assert sentence("microscope.one_layer") in text
    assert sentence("microscope.needs_two_probes") in text


def test_domains_of_the_chosen_methods_stand_side_by_side(open_app: Opener, probed: Path) -> None:
    app = open_app(probed, "microscope", runs=["free", "plain"])
    alts = [chart.proto.alt for chart in app.get("vega_lite_chart")]
    assert sum(sentence("captions.domain_load_title") in alt for alt in alts) == 2
    assert sentence("ranking.domain_distance", seeds="one seed") in words(app)


def batch(step: int = 12, **settings: object) -> RoutedBatch:
    from explorer.queries.probe import LayerProbe
    from explorer.routing.routing_math import settings_of

    bias = rule_biases(random_counts(25, 2, 8))[step]
    record = probe_record(step, bias, 2, 8, 2)
    probe = LayerProbe(
        logits=record.router_logits_PLE[:, 0], routes=record.selected_experts_PLK[:, 0], bias=bias[0]
    )
    balancer = "none" if "routing" in settings else "loss_free"
    how = settings_of(probe_info(balancer, **settings)["config"], top_k=2, step=step)
    return route(probe, how, probe_text(None, len(probe.logits)), step=step, layer=0)


def test_the_table_of_a_token_by_loops() -> None:
    seen = batch()
    for token in range(seen.num_tokens):
        score = sigmoid(seen.logits[token].astype(float)).tolist()
        with_bias = [s + b for s, b in zip(score, seen.bias.tolist(), strict=True)]
        before = sorted(range(8), key=lambda e: -score[e])[:2]
        after = sorted(range(8), key=lambda e: -with_bias[e])[:2]
        for row in token_table(seen, token).to_dicts():
            e = row["expert"]
            assert row["score"] == pytest.approx(score[e], abs=1e-6)
            assert row["compared"] == pytest.approx(with_bias[e], abs=1e-6)
            assert row["rank_before"] == 1 + sum(other > score[e] for other in score)
            assert row["rank_after"] == 1 + sum(other > with_bias[e] for other in with_bias)
            wanted = {
                (1, 1): "chosen",
                (0, 1): sentence("microscope.brought_in"),
                (1, 0): sentence("microscope.pushed_out"),
            }
            assert row["state"] == wanted.get((e in before, e in after), "not chosen")
            gate = score[e] / sum(score[a] for a in after) if e in after else None
            assert row["gate"] == (None if gate is None else pytest.approx(gate, rel=1e-5))


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"score_func": "softmax"}, [r"\frac{e^{x_i}}{\sum_j e^{x_j}}"]),
        ({"score_func": "sqrt_softplus"}, [r"\sqrt{\ln(1 + e^{"]),
        ({"gate_func": "softmax"}, [r"w_i = \frac{e^{x_i}}", r"\frac{w_i}{"]),
        ({"normalize_gates": False}, ["g_i &= s_i"]),
        ({"route_scale": 2.5}, [r"\cdot 2.5"]),
    ],
    ids=str,
)
def test_the_formulas_are_those_of_the_configuration(settings: dict[str, object], parts: list[str]) -> None:
    seen = batch(**settings)
    text = " ".join(formula for _, formula in formula_steps(seen, 3, token_table(seen, 3)))
    for part in parts:
        assert part in text


def test_where_experts_choose_the_first_expert_of_a_token_weighs_most() -> None:
    seen = batch(routing="expert_choice")
    assert seen.before is None
    assert seen.compared is None
    for token in range(seen.num_tokens):
        scores = [float(seen.scores[token, e]) for e in seen.chosen_by(token)]
        assert scores == sorted(scores, reverse=True)


def trained(base: Path, balancer: str) -> Path:
    """A run that the trainer itself recorded, with probes after 1, 2, 4, 9 and 20 steps."""
    config = get_preset("tiny").with_setting("training.probe_tokens", 32)
    config = replace(config, balancer=preset_balancer("tiny", balancer))
    return train_run(config, base, run_id="trained", preset="tiny").path


def test_a_bias_that_restarts_under_the_next_rule_is_not_called_wrong(
    open_app: Opener, tmp_path: Path
) -> None:
    balancer = "none/2/loss_free/10/loss_free:bias_form=multiplicative/15/none"
    path = trained(tmp_path / "own", balancer)
    rows = RunFolder(path).read("expert_loads").filter(pl.col("step") == 10)
    assert rows["expert_bias"].unique().to_list() == [1.0]
    app = open_app(page="microscope", probe=9, layer=0, expert=1)
    assert not app.exception
    assert not app.error
    text = words(app)
    assert sentence("bias_step.expert_load", step=9, expert=1) in text
    assert sentence("bias_step.rule_restarts", step=10) in text
    assert sentence("bias_step.equal_to_log") not in text


@pytest.mark.parametrize("moved", [True, False])
def test_a_small_proportional_step_that_was_never_made_is_red(
    open_app: Opener, tmp_path: Path, moved: bool
) -> None:
    path = trained(tmp_path / "own", "loss_free:update_rule=proportional,u=1e-6")
    if not moved:
        for file in path.glob("expert_loads-*.parquet"):
            still = pl.read_parquet(file).with_columns(expert_bias=pl.lit(0.0, pl.Float32))
            still.write_parquet(file)
    app = open_app(page="microscope", probe=9, layer=0)
    assert not app.exception
    text = words(app)
    assert [error.value.split(" (")[0] for error in app.error] == (
        [] if moved else [sentence("bias_step.unequal")]
    )
    assert (sentence("bias_step.step_equal_bits", step=10) in text) == moved


def test_a_rule_that_adds_fractions_up_is_equal_to_rounding_only(open_app: Opener, tmp_path: Path) -> None:
    trained(tmp_path / "own", "loss_free:update_rule=rms,centred=true")
    app = open_app(page="microscope", probe=9)
    assert not app.exception
    assert not app.error
    text = words(app)
    assert sentence("bias_step.step_equal_rounding", step=10) in text
    assert "bit for bit" not in text


@pytest.mark.parametrize(
    ("balancer", "message"),
    [
        ("quantile", sentence("bias_step.reads_all_scores_of_step")),
        ("loss_free:load_ema=0.9", sentence("bias_step.running_mean", memory="0.9")),
        ("loss_free:freeze_after_step=5", sentence("bias_step.frozen")),
    ],
)
def test_rules_that_do_not_step_by_counts_say_so(
    open_app: Opener, tmp_path: Path, balancer: str, message: str
) -> None:
    trained(tmp_path / "own", balancer)
    app = open_app(page="microscope", probe=9)
    assert not app.exception
    assert not app.error
    assert message in words(app)
