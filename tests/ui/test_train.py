"""The form: made from the configuration, refused with its words, starting what it says."""

import json
import re
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import streamlit as st
from app_pages import Opener, words
from forked import launched, needs_fork_server
from sentences import pattern, sentence
from store_runs import write_run

from explorer.config.limits import Limits
from explorer.config.presets import PRESETS, get_preset, recorded_preset
from explorer.config.rule_text import RULES
from explorer.config.run import ModelConfig, RunConfig, TrainingConfig
from explorer.config.server import Settings
from explorer.errors import ConfigError
from explorer.running.jobs import Job
from explorer.ui.server.jobs import READ_ONLY, JobManager
from explorer.ui.shared import show
from explorer.ui.train import form, labels
from explorer.ui.train import page as train
from explorer.ui.train.field_docs import field_docs
from explorer.ui.train.orders import job_of, make_configs, writable

LARGE_HOST = Limits(memory_gb=1e6)


def plain(config: RunConfig) -> dict[str, dict[str, object]]:
    """What the form returns when nothing was changed."""
    settings: dict[str, dict[str, object]] = {"corpus": {}, "model": {}, "training": {}}
    for field in form.form_fields(config):
        settings[field.section][field.name] = field.default
    return settings


@pytest.mark.parametrize("preset", list(PRESETS))
def test_an_untouched_form_gives_the_preset_back(preset: str) -> None:
    base = get_preset(preset)
    (config,) = make_configs(preset, plain(base), ["none"], "0", LARGE_HOST)
    assert config == base


def test_every_field_is_in_the_form_but_the_seed() -> None:
    names = {field.path for field in form.form_fields(get_preset("tiny"))}
    expected = {f"model.{f.name}" for f in fields(ModelConfig)}
    expected |= {f"training.{f.name}" for f in fields(TrainingConfig)} - {"training.seed"}
    assert expected <= names


def test_the_help_of_a_field_is_the_docstring_under_it() -> None:
    assert field_docs(ModelConfig)["num_experts"] == sentence("train.experts_help")
    assert "hidden_size" not in field_docs(ModelConfig)
    # Its docstring has two paragraphs, of which a tooltip makes one.
    assert "instead of always top_k. Capacity is then still computed" in field_docs(ModelConfig)["top_p"]


@pytest.mark.parametrize("kind", [*form.SECTIONS.values(), *RULES.values()], ids=lambda kind: kind.__name__)
def test_documentation_names_fields_and_leaves_the_dataclass_as_it_was(kind: type) -> None:
    before = kind()
    field_docs.cache_clear()
    assert field_docs(kind).keys() <= {field.name for field in fields(kind)}
    assert kind() == before


NEEDS: dict[tuple[str, str | None], dict[str, object]] = {
    ("corpus.tokenizer", "bytes"): {"vocab_size": 256},
    ("model.gate_func", "sigmoid"): {"score_func": "softmax"},
    ("model.drop_policy", "position"): {"capacity_factor": 1.0},
}
"""Choices that make sense beside another setting only."""


@pytest.mark.parametrize("path", list(form.CHOICES))
def test_choices_offer_the_default_and_are_all_accepted(path: str) -> None:
    section, name = path.split(".")
    kind = RULES.get(section) or form.SECTIONS[section]
    for value in form.CHOICES[path]:
        others = NEEDS.get((path, value), {})
        assert getattr(kind(**{name: value, **others}), name) == value
    assert getattr(kind(), name) in form.CHOICES[path]


def test_every_choice_that_a_field_refuses_by_name_is_offered_as_a_list() -> None:
    """A new word-valued field must come with its words, else the form would show a number box."""
    for field in form.form_fields(get_preset("quick")):
        assert not isinstance(field.default, str) or field.path in form.CHOICES


def test_rows_of_fields_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = list(form.form_fields(get_preset("tiny")))[:5]
    rows: list[int] = []

    def columns(number: int, **_: object) -> list[AbstractContextManager[None]]:
        rows.append(number)
        return [nullcontext() for _ in range(number)]

    monkeypatch.setattr(st, "columns", columns)
    monkeypatch.setattr(form, "widget", lambda field, key: f"{key} {field.path}")
    assert list(form.in_rows(fields, "key")) == [(field, f"key {field.path}") for field in fields]
    assert rows == [form.PER_ROW, form.PER_ROW]


def test_rules_times_seeds_make_runs() -> None:
    configs = make_configs("tiny", plain(get_preset("tiny")), ["none", "loss_free"], "0, 2")
    assert [(str(c.balancer), c.seed) for c in configs] == [
        ("none", 0), ("loss_free", 0), ("none", 2), ("loss_free", 2),
    ]  # fmt: skip
    assert len({c.pair_key for c in configs}) == 1


def test_the_presets_own_meaning_of_a_rule_counts() -> None:
    (config,) = make_configs("paper_1b", plain(get_preset("paper_1b")), ["loss_free"], "0", LARGE_HOST)
    assert "0.001" in config.balancer.label


def test_an_arm_may_be_a_routing() -> None:
    (config,) = make_configs("tiny", plain(get_preset("tiny")), ["expert_choice"], "0")
    assert config.model.routing == "expert_choice"


def test_a_changed_configuration_is_nobodys_preset() -> None:
    base = get_preset("quick")
    (kept,) = make_configs("quick", plain(base), ["aux_loss"], "7")
    assert recorded_preset(kept, "quick") == "quick", "rule and seed are what is compared"
    changed = plain(replace(base, training=replace(base.training, num_steps=30)))
    (other,) = make_configs("quick", changed, ["aux_loss"], "7")
    assert recorded_preset(other, "quick") is None
    assert recorded_preset(other, None) is None


def test_a_form_changed_by_hand_trains_under_no_preset(
    open_app: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    added: list[Job] = []
    monkeypatch.setattr(JobManager, "add", lambda self, jobs: added.extend(jobs))
    app = open_app(page="train")
    app.button(key="start").click().run()
    assert {job.run_id.split("-")[0] for job in added} == {"quick"}
    added.clear()
    app.number_input(key="train_quick_training.num_steps").set_value(30).run()
    app.button(key="start").click().run()
    assert {job.run_id.split("-")[0] for job in added} == {"custom"}


@pytest.mark.parametrize(
    ("arms", "seeds", "field"),
    [
        ([], "0", "balancer"),
        (["loss_fre"], "0", "balancer"),
        (["none", "none"], "0", "balancer"),
        (["aux_loss:coeff=-1"], "0", "aux_loss.coeff"),
        (["none"], "", "training.seed"),
        (["none"], "1,x", "training.seed"),
        (["none"], "-1", "training.seed"),
        (["none"], "²", "training.seed"),
        (["none"], "9223372036854775808", "training.seed"),
        (["none"], "9" * 5000, "training.seed"),
        (["none"], "3,3", "training.seed"),
        (["none/²/loss_free"], "0", "balancer.schedule.step"),
        (["none"], "0-29", "seeds"),
    ],
)
def test_what_breaks_a_rule_is_refused_by_name(arms: list[str], seeds: str, field: str) -> None:
    with pytest.raises(ConfigError) as refused:
        make_configs("tiny", plain(get_preset("tiny")), arms, seeds)
    assert refused.value.field == field


def test_a_wrong_value_shows_the_sentence_and_starts_nothing(open_app: Opener, tmp_path: Path) -> None:
    app = open_app(page="train")
    app.selectbox(key="preset").set_value("tiny").run()
    app.number_input(key="train_tiny_model.top_k").set_value(9).run()
    app.button(key="start").click().run()
    assert [e.value for e in app.error] == [show.plain(sentence("train.top_k_too_large", value=9, experts=4))]
    assert not (tmp_path / "own").exists()
    assert sentence("shell.training_now") not in words(app)


def test_a_runs_folder_that_cannot_be_written_is_named(
    open_app: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own").write_text("a file", encoding="utf-8")
    app = open_app(page="train")
    app.button(key="start").click().run()
    assert len(app.error) == 1
    assert show.plain(str(tmp_path / "own")) in app.error[0].value


def at_once(work: Callable[[], object], times: int, visitors: int = 8) -> list[Exception]:
    """What several visitors are told who do the same at the same time, so many times each."""
    together, errors = threading.Barrier(visitors), []

    def visit() -> None:
        together.wait()
        for _ in range(times):
            try:
                work()
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=visit) for _ in range(visitors)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_visitors_who_look_into_the_runs_folder_together_do_not_disturb_each_other(tmp_path: Path) -> None:
    assert at_once(lambda: writable(tmp_path / "own"), times=100) == []
    assert list((tmp_path / "own").iterdir()) == [], "nothing is left"


def test_a_second_press_does_not_train_the_same_runs_again(
    open_app: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[Job] = []
    monkeypatch.setattr(JobManager, "add", lambda self, more: jobs.extend(more))
    monkeypatch.setattr(JobManager, "jobs", lambda self: jobs)
    monkeypatch.setattr(JobManager, "open_jobs", lambda self: [job for job in jobs if job.is_open])
    app = open_app(page="train")
    app.multiselect(key="train_arms").set_value(["none"]).run()
    for _ in range(2):
        app.button(key="start").click().run()
        assert not app.exception
    assert len(jobs) == 1
    assert "training already" in app.info[0].value
    app.text_input(key="train_seeds").set_value("0,1").run()
    app.button(key="start").click().run()
    assert [job.config.seed for job in jobs] == [0, 1]
    jobs[0].state = "ended"
    app.button(key="start").click().run()
    assert [job.config.seed for job in jobs] == [0, 1, 0], "one that has ended may be trained again"


def test_what_trains_stands_right_below_the_button(open_app: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [Job(run_id=name, config=get_preset("tiny"), runs=Path("nowhere")) for name in ("old", "new")]
    monkeypatch.setattr(JobManager, "jobs", lambda self: jobs)
    app = open_app(page="train")
    assert [heading.value for heading in app.subheader][:2] == ["Training now", "Configuration"]
    stops = [button.key for button in app.button if (button.key or "").startswith("stop_")]
    assert stops == ["stop_new", "stop_old"], "the newest first"


def test_what_was_changed_from_a_preset_stands_beside_the_button(open_app: Opener) -> None:
    app = open_app(page="train")
    app = app.selectbox(key="preset").set_value("quick").run()
    assert sentence("train.changed") not in words(app)
    key = "train_quick_training.num_steps"
    app = app.number_input(key=key).set_value(500).run()
    assert sentence("train.changed_steps", preset="quick", steps=500, before=200) in words(app)


def test_two_who_press_start_in_the_same_moment_both_get_their_runs(tmp_path: Path) -> None:
    manager = JobManager(tmp_path / "own", command=[sys.executable, "-c", "input()"])
    (config,) = make_configs("tiny", plain(get_preset("tiny")), ["none"], "0", LARGE_HOST)

    def start() -> None:
        manager.add([job_of(config, "tiny", writable(tmp_path / "own"))])

    try:
        assert at_once(start, times=5, visitors=2) == []
        jobs = manager.jobs()
        assert len({job.run_id for job in jobs}) == 10
        assert sum(job.state == "training" for job in jobs) == manager.at_once
    finally:
        manager.close()


def test_another_preset_brings_its_own_values(open_app: Opener) -> None:
    app = open_app(page="train")
    app.selectbox(key="preset").set_value("standard").run()
    assert app.number_input(key="train_standard_training.num_steps").value == 800
    app.selectbox(key="preset").set_value("tiny").run()
    assert app.number_input(key="train_tiny_training.num_steps").value == 20


def test_a_built_rule_joins_the_list(open_app: Opener) -> None:
    app = open_app(page="train")
    app.number_input(key="build_quick_loss_free.bias_update_rate").set_value(0.01).run()
    app.button(key="add_rule").click().run()
    assert "loss_free:bias_update_rate=0.01" in app.multiselect(key="train_arms").value


@needs_fork_server
def test_started_runs_train_and_are_listed(
    open_app: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one test here with a real trainer: two arms of the smallest preset, to the end. With an interpreter
    of its own it trains in `tests/browser/test_app_training.py`."""
    import time

    from explorer.ui.server.services import services

    monkeypatch.setattr("explorer.ui.server.jobs.LocalProcess", launched)
    app = open_app(page="train")
    app.selectbox(key="preset").set_value("tiny").run()
    app.multiselect(key="train_arms").set_value(["none", "loss_free"]).run()
    app.button(key="start").click().run()
    assert not app.error
    assert sentence("shell.training_now") in words(app)
    end = time.monotonic() + 240
    while services().jobs.open_jobs() and time.monotonic() < end:
        time.sleep(0.2)
    assert [job.state for job in services().jobs.jobs()] == ["ended", "ended"], services().jobs.jobs()
    folders = sorted((tmp_path / "own").iterdir())
    assert len(folders) == 2
    states = [json.loads((f / "status.json").read_text(encoding="utf-8"))["state"] for f in folders]
    assert states == ["finished", "finished"]
    services().ingest.wake()
    rounds = services().ingest.rounds
    while services().ingest.rounds < rounds + 2:
        time.sleep(0.05)
    app.run()
    assert {folder.name for folder in folders} <= {run.run_id for run in app.session_state["shell"][0]}
    assert len(app.get("vega_lite_chart")) == 2


def test_what_the_host_does_not_allow_is_refused() -> None:
    limits = Limits(sizes=(("model.num_experts", 3),))
    with pytest.raises(ConfigError, match=pattern("config.most_on_host", most=3)):
        make_configs("tiny", plain(get_preset("tiny")), ["none"], "0", limits)
    with pytest.raises(ConfigError, match=pattern("train.too_many_runs", runs=4, most=3)):
        make_configs(
            "tiny", plain(get_preset("tiny")), ["none", "loss_free"], "0,1", Limits(runs_per_start=3)
        )


def test_an_app_that_only_shows_says_so_and_offers_no_form(
    open_app: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXPLORER_READ_ONLY", "1")
    app = open_app(page="train")
    assert not app.exception
    assert [info.value for info in app.info] == [READ_ONLY]
    assert "start" not in [button.key for button in app.button]


def test_a_setting_of_the_host_that_means_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPLORER_READ_ONLY", "perhaps")
    with pytest.raises(ConfigError, match="EXPLORER_READ_ONLY = 'perhaps'"):
        Settings.from_environment()


def test_one_training_that_cannot_be_drawn_leaves_the_controls_of_the_others(
    open_app: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [Job(run_id=name, config=get_preset("tiny"), runs=tmp_path) for name in ("broken", "fine")]
    monkeypatch.setattr(JobManager, "jobs", lambda self: jobs)
    monkeypatch.setattr(JobManager, "open_jobs", lambda self: [])
    draw = train._progress

    def fail(job: Job) -> None:
        if job.run_id == "broken":
            raise ValueError("its *folder* is odd")
        draw(job)

    monkeypatch.setattr(train, "_progress", fail)
    app = open_app(page="train")
    assert not app.exception
    assert [error.value for error in app.error] == [show.plain(sentence("shell.run_not_shown", run="broken"))]
    assert {"stop_fine", "start"} <= {button.key for button in app.button}


@pytest.mark.parametrize(
    ("has_ended", "in_index", "is_changing"),
    [(False, None, False), (True, None, True), (True, "running", True), (True, "finished", False)],
)
def test_the_page_is_alive_until_the_index_knows_that_a_run_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_ended: bool, in_index: str | None, is_changing: bool
) -> None:
    """The last picture would lack the last steps; a run that was killed is not waited for."""
    job = Job(config=get_preset("tiny"), run_id="here", runs=tmp_path, state="ended")
    write_run(tmp_path, "here", finish=has_ended)
    known = [] if in_index is None else [SimpleNamespace(run_id="here", is_running=in_index == "running")]
    monkeypatch.setattr(train.cached, "list_runs", lambda: known)
    assert train._is_changing([job]) is is_changing


def test_rules_have_the_names_of_legends(open_app: Opener) -> None:
    rules = open_app(page="train").multiselect(key="train_arms")
    names = [sentence("labels.none"), "aux global 0.01", sentence("labels.loss_free_short", rate="0.003")]
    assert rules.options[:2] == names[:2]
    assert set(names) <= set(rules.options)
    assert rules.value == ["none", "aux_loss", "loss_free"]
    assert not [name for name in rules.options if "_" in name]


def test_no_two_rules_of_the_list_have_one_name() -> None:
    alike = ["loss_free", "loss_free:u=0.003", "loss_free:u=0.001", "magic"]
    names = labels.rule_labels("quick", alike)
    assert names["loss_free"] == "loss-free 0.003 (loss_free)"
    assert names["loss_free:u=0.003"] == "loss-free 0.003 (loss_free:u=0.003)"
    assert (names["loss_free:u=0.001"], names["magic"]) == ("loss-free 0.001", "magic")
    assert labels.distinct("quick", alike, keep=["loss_free:u=0.003"]) == alike[1:]


def test_fields_values_and_errors_have_labels_of_the_form() -> None:
    """Names of a configuration stand only in the help, where somebody looks what to type."""
    sections = {**form.SECTIONS, **RULES}
    fields = [field for name, kind in sections.items() for field in form.fields_of(name, kind, kind())]
    assert not [field.label for field in fields if re.search(r"_|\b(num|func|coeff|std|ema)\b", field.label)]
    words = [labels.value_label(value) for choices in form.CHOICES.values() for value in choices]
    assert not [word for word in words if "_" in word]
    error = ConfigError("balancer", "", "names no rule", "choose one")
    assert labels.error_text(error).startswith("balancing rule = ''")
    assert [labels.rule_title(name) for name in ("aux_loss", "loss_free", "mqb", "simbal")] == [
        "auxiliary loss", "loss-free", "moving quantile balancing", "SimBal",
    ]  # fmt: skip
