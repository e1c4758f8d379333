"""How runs become the entries of the picker, their labels, and the comparison that the app opens with."""

from dataclasses import replace

import polars as pl
import pytest
from arm_runs import run
from sentences import sentence

from explorer.charts import theme
from explorer.config.presets import get_preset
from explorer.config.run import BalancerConfig
from explorer.figures import merge
from explorer.figures.arms import Run, arms_of, chart_labels, default_arms, run_from_row, short_labels
from explorer.figures.final import spread
from explorer.figures.quality import resolutions
from explorer.figures.rule_names import legend, short_balancer, short_rule
from explorer.figures.views.selection import entry
from explorer.recording import RunInfo, run_info_from_config


def story(seeds: int = 2) -> list[Run]:
    rules = ("loss_free", "aux_loss", "none", "aux_loss:scope=sequence")
    return [run(f"{rule}-{seed}", rule, seed) for rule in rules for seed in range(seeds)]


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("none", "none"),
        ("aux_loss", "aux global 0.01"),
        ("aux_loss:scope=sequence,coeff=1,score_norm=raw", "aux sequence 1 raw"),
        ("aux_loss:scope=micro_batch", "aux micro-batch 0.01"),
        ("loss_free:u=0.03", sentence("labels.loss_free_short", rate="0.03")),
        ("loss_free:update_rule=rms,bias_form=multiplicative,centred=true,freeze_after_step=9",
         sentence("labels.loss_free_options_short", rate="0.003", step=9)),
        ("loss_free+seq_aux", sentence("labels.loss_free_sequence_short", rate="0.003", coeff="0.0001")),
        ("none/400/loss_free", sentence("labels.none_then_loss_free_short", step=400, rate="0.003")),
        ("z_loss", "z-loss 0.001"),
        ("somebody's own rule", "somebody's own rule"),
    ],
)  # fmt: skip
def test_rules_have_short_names(text: str, short: str) -> None:
    assert short_balancer(text) == short


def test_different_rules_never_share_a_short_name() -> None:
    rules = ["none", "aux_loss", "aux_loss:scope=sequence", "aux_loss:score_norm=raw", "aux_loss:coeff=0.1",
             "loss_free", "loss_free:u=0.001", "loss_free:centred=true", "seq_aux", "z_loss",
             "loss_free+z_loss"]  # fmt: skip
    assert len({short_balancer(rule) for rule in rules}) == len(rules)


def test_seeds_of_one_rule_become_one_entry_and_stay_available_alone() -> None:
    tokens = [arm.token for arm in arms_of([run("a", seed=1), run("b", seed=0)])]
    assert tokens == ["standard none", "a", "b"]
    assert arms_of([run("a", seed=1), run("b", seed=0)])[0].run_ids == ["b", "a"]


def test_only_finished_seeds_are_averaged() -> None:
    entries = arms_of([run("a", seed=0), run("b", seed=1, state="running", last_step=5)])
    assert [arm.token for arm in entries] == ["a", "b"]


def test_of_two_runs_of_one_seed_the_newest_counts() -> None:
    newer = run("again", seed=0, created_at="2026-11-23T10:00:00+00:00")
    assert arms_of([run("a", seed=0), newer, run("b", seed=1)])[0].run_ids == ["again", "b"]


def test_unreadable_and_empty_runs_are_not_offered() -> None:
    assert arms_of([run("a", problem="broken"), run("b", last_step=-1)]) == []


def test_runs_of_different_configurations_are_never_one_entry() -> None:
    runs = [
        run("a", seed=0),
        run("b", seed=1),
        run("c", seed=0, pair_key="other"),
        run("d", seed=1, pair_key="other"),
    ]
    groups = [arm for arm in arms_of(runs) if arm.is_group]
    assert [arm.run_ids for arm in groups] == [["a", "b"], ["c", "d"]]
    assert len({arm.token for arm in groups}) == 2


def test_the_app_opens_with_the_four_arms_of_the_story_in_order() -> None:
    others = [run("u", "loss_free:u=0.03"), run("quick", "loss_free", preset="quick", pair_key="quick")]
    arms = default_arms(arms_of([*others, *story()]))
    assert [arm.first.balancer for arm in arms] == [
        "none",
        "aux_loss:scope=sequence",
        "aux_loss",
        "loss_free",
    ]
    assert all(arm.is_group for arm in arms)


def test_shipped_runs_come_before_a_newer_comparison_of_ones_own() -> None:
    own = [
        replace(r, run_id=f"own-{r.run_id}", shipped=False, pair_key="own", created_at="2027")
        for r in story()
    ]
    assert all(arm.first.shipped for arm in default_arms(arms_of([*own, *story()])))


def test_a_story_needs_no_group() -> None:
    assert len(default_arms(arms_of(story(seeds=1)))) == 4
    assert default_arms([]) == []


def test_labels_tell_arms_apart() -> None:
    alone = arms_of([run("a", seed=0), run("b", seed=1)])
    labels = chart_labels(alone)
    assert len(set(labels.values())) == 3
    assert "seed 0" in labels["a"]
    twins = arms_of([run("x", seed=0), run("y", seed=0, state="stopped")])
    assert len(set(chart_labels(twins).values())) == 2


def test_labels_name_the_preset_where_it_differs() -> None:
    labels = chart_labels(arms_of([run("a"), run("b", preset="quick", pair_key="q")]))
    assert labels == {"a": "no balancing, standard", "b": "no balancing, quick"}


def test_seeds_are_averaged_and_the_band_spans_them() -> None:
    (arm, *_) = arms_of([run("a", seed=0), run("b", seed=1)])
    frame = pl.DataFrame(
        {
            "run_id": ["a", "a", "b", "b"], "bin": [0, 1, 0, 1], "first_step": [0, 5, 0, 5],
            "last_step": [4, 9, 4, 9],
            "x": [4.0, 9.0, 4.0, 9.0], "max_vio": [1.0, 2.0, 3.0, 4.0], "max_vio_min": [0.5, 1.5, 2.5, 3.5],
            "max_vio_max": [1.5, 2.5, 3.5, 4.5],
        }
    )  # fmt: skip
    merged = merge.series(frame, [arm], ["max_vio"])
    assert merged["run_id"].to_list() == ["standard none"] * 2
    assert merged["max_vio"].to_list() == [2.0, 3.0]
    assert merged["max_vio_min"].to_list() == [1.0, 2.0], "the lowest seed"
    assert merged["max_vio_max"].to_list() == [3.0, 4.0], "the highest seed"
    (alone,) = (one for one in arms_of([run("a", seed=0), run("b", seed=1)]) if one.token == "a")
    single = merge.series(frame, [alone], ["max_vio"])
    assert single["max_vio_min"].to_list() == [0.5, 1.5], "the lowest step of the bin"
    assert single["max_vio_max"].to_list() == [1.5, 2.5]


def test_a_run_alone_and_in_a_group_is_drawn_twice() -> None:
    entries = arms_of([run("a", seed=0), run("b", seed=1)])
    frame = pl.DataFrame(
        {"run_id": ["a", "b"], "step": [0, 0], "domain": ["all", "all"], "x": [0.0, 0.0],
         "lm_loss": [1.0, 3.0],
         "bits_per_byte": [None, None]}
    )  # fmt: skip
    merged = merge.evals(frame, entries[:2])
    assert dict(zip(merged["run_id"], merged["lm_loss"], strict=True)) == {"standard none": 2.0, "a": 1.0}


def test_the_mean_over_seeds_of_losses_is_taken_before_the_exponential() -> None:
    (arm, *_) = arms_of([run("a", seed=0), run("b", seed=1)])
    frame = pl.DataFrame(
        {"run_id": ["a", "b"], "step": [0, 0], "domain": ["all", "all"], "x": [0.0, 0.0],
         "lm_loss": [1.0, 3.0],
         "bits_per_byte": [1.0, 2.0]}
    )  # fmt: skip
    assert merge.evals(frame, [arm])["perplexity"][0] == pytest.approx(7.389, abs=1e-3)


def test_a_figure_is_shown_with_its_interval_over_seeds() -> None:
    assert spread(pl.Series([1.5])) == "1.50"
    assert spread(pl.Series([1.0, 2.0])) == "1.50 ± 6.35"
    assert spread(pl.Series([None, None], dtype=pl.Float64)) == "–"


def test_the_resolution_is_printed_or_its_absence() -> None:
    several = [{"metric": "perplexity", "half_width": 0.12}, {"metric": "perplexity", "half_width": 0.3}]
    assert resolutions(several) == [sentence("ranking.resolution", range="±0.12 to 0.3")]
    assert "one seed" in resolutions([{"metric": "perplexity", "half_width": None}])[0]


def test_a_run_whose_rules_changed_often_keeps_a_short_legend() -> None:
    """One change is said in full; more in short, and of many the last ones."""

    def label(text: str) -> str:
        base = get_preset("quick")
        return legend(replace(base, balancer=BalancerConfig.parse(text)))

    assert label("none/40/loss_free") == sentence(
        "labels.none_then_loss_free", step=40, rate="0.003", scope="global batch"
    )
    three = label("none/40/loss_free/80/none/120/aux_loss")
    assert three == sentence(
        "labels.none_then_three", first=40, rate="0.003", second=80, third=120, coeff="0.01"
    )
    many = "none" + "".join(f"/{step}/{'loss_free' if step % 20 else 'none'}" for step in range(10, 110, 10))
    assert label(many) == sentence("labels.none_then_many", more=8, first=90, rate="0.003", second=100)


# --- Names ---


def outside(run_id: str, name: str, label: str = "loss-free u=0.001", **changes: object) -> Run:
    """A run of somebody's own loop, described as the README does, as the index has it."""
    info = RunInfo(
        run_id=run_id, name=name, num_moe_layers=2, num_experts=4, top_k=2, tokens_per_step=64, num_steps=40,
        balancer_label=label,
    )  # fmt: skip
    row = {
        "run_id": run_id, "path": f"/runs/{run_id}", "dir_kind": "own", "name": name, "state": "finished",
        "preset": None, "seed": None, "balancer": info.balancer, "balancer_label": info.balancer_label,
        "balancer_family": info.balancer_family, "count_scope": info.count_scope, "pair_key": None,
        "config": "{}", "num_moe_layers": 2, "last_step": 39, "created_at": info.created_at,
        "problem": None, "message": None,
    }  # fmt: skip
    return replace(run_from_row(row), **changes)  # type: ignore[arg-type]


def test_runs_of_one_label_are_told_apart_by_the_names_that_people_gave() -> None:
    arms = arms_of([outside("exp-0417", "baseline, lr 3e-4"), outside("exp-0418", "twice the batch")])
    assert list(chart_labels(arms).values()) == [
        sentence("labels.loss_free_extra", rate="0.001", extra="baseline, lr 3e-4"),
        sentence("labels.loss_free_extra", rate="0.001", extra="twice the batch"),
    ]


def test_ids_that_people_gave_are_not_cut() -> None:
    arms = arms_of([outside("loss-nan-at-once", ""), outside("loss-nan-to-the-end", "")])
    assert list(chart_labels(arms).values()) == [
        sentence("labels.loss_free_extra", rate="0.001", extra="loss-nan-at-once"),
        sentence("labels.loss_free_extra", rate="0.001", extra="loss-nan-to-the-end"),
    ]


def test_without_names_the_ids_tell_them_apart_and_say_no_more_than_they_must() -> None:
    ids = ["quick-loss_free-seed0-20261129-101500", "quick-loss_free-seed0-20261129-113000"]
    labels = chart_labels(arms_of([outside(one, "") for one in ids]))
    assert list(labels.values()) == [
        sentence("labels.loss_free_extra", rate="0.001", extra=101500),
        sentence("labels.loss_free_extra", rate="0.001", extra=113000),
    ]


@pytest.mark.parametrize(
    "names",
    [("a", "a"), ("", ""), ("a", ""), ("a" * 60 + "1", "a" * 60 + "2"), ("loss-free u=0.001", "a")],
)
def test_no_two_lines_of_a_legend_are_alike(names: tuple[str, str]) -> None:
    arms = arms_of([outside(f"exp-{i}", name) for i, name in enumerate((*names, *names))])
    labels = chart_labels(arms)
    assert len(set(labels.values())) == len(arms)
    assert len({entry(arm, labels[arm.token]) for arm in arms}) == len(arms)
    assert len(set(short_labels(arms).values())) == len(arms)
    assert not any("(1)" in text or "(2)" in text for text in labels.values())
    assert all(len(text) < 90 for text in labels.values()), "a name of any length leaves room for the figure"


def test_a_run_that_only_labels_its_rule_is_not_one_without_balancing() -> None:
    named = outside("exp-0417", "baseline")
    assert (named.family, named.scope) == ("unknown", "unknown")
    assert named.short == "loss-free u=0.001"
    assert "loss-free u=0.001" in arms_of([named])[0].label
    assert theme.family_ink(named.family) not in (theme.family_ink("none"), theme.REFERENCE)


def test_seeds_of_different_labels_are_never_averaged() -> None:
    """Of two rules that only a label describes, the text form is empty."""
    runs = [
        outside("a", "", "rule A", seed=0, pair_key="p"),
        outside("c", "", "rule A", seed=1, pair_key="p"),
        outside("b", "", "rule B", seed=1, pair_key="p", created_at="2099"),
    ]
    assert [arm.run_ids for arm in arms_of(runs) if arm.is_group] == [["a", "c"]]
    assert len(default_arms(arms_of(runs))) == 2


def test_an_automatic_name_is_no_name() -> None:
    config = replace(get_preset("tiny"), balancer=BalancerConfig.parse("loss_free"))
    info = run_info_from_config(config, run_id="x")
    assert info.name
    row = {**vars(outside("x", "")), "balancer_label": info.balancer_label, "name": info.name, "seed": 0}
    row |= {"dir_kind": "own", "balancer_family": info.balancer_family, "count_scope": "global_batch"}
    assert run_from_row(row).title == ""
    assert run_from_row({**row, "name": "mine"}).title == "mine"


@pytest.mark.parametrize(
    ("balancer", "label", "short"),
    [
        (
            "loss_free:u=0.001",
            sentence("labels.loss_free", rate="0.001", scope="global batch"),
            sentence("labels.loss_free_short", rate="0.001"),
        ),
        ("none", sentence("labels.none"), sentence("labels.none")),
        ("none", "baseline of ours", "baseline of ours"),
        ("", "our rule", "our rule"),
        ("our_rule:x=1", "our rule", "our rule"),
        ("our_rule:x=1", "", "our_rule:x=1"),
        ("", "", "unknown"),
        ("dense", sentence("labels.dense"), "dense"),
    ],
)
def test_the_short_form_of_a_rule_never_contradicts_its_label(balancer: str, label: str, short: str) -> None:
    assert short_rule(balancer, label) == short
