"""Experiments on the Train page: they fill the form, their comments have numbers, their orders can run."""

import pytest
from app_pages import Opener, words
from sentences import sentence

from explorer.config.presets import get_preset
from explorer.figures import course as lesson_course
from explorer.ui.train import form
from explorer.ui.train.orders import make_configs

EXPERIMENTS, PROBLEMS = lesson_course.experiments()


def test_every_shipped_file_is_an_experiment_good_and_bad_ones() -> None:
    assert PROBLEMS == ()
    assert {experiment.verdict for experiment in EXPERIMENTS} == {"good", "bad", "open"}
    assert len({experiment.title for experiment in EXPERIMENTS}) == len(EXPERIMENTS) >= 6


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda e: e.slug)
def test_an_order_can_be_trained(experiment: lesson_course.Experiment) -> None:
    settings: dict[str, dict[str, object]] = {"corpus": {}, "model": {}, "training": {}}
    for field in form.form_fields(get_preset(experiment.preset)):
        settings[field.section][field.name] = experiment.settings.get(field.path, field.default)
    configs = make_configs(experiment.preset, settings, experiment.arms, experiment.seeds)
    assert len({config.pair_key for config in configs}) == 1


def test_without_a_choice_the_form_is_as_it_was(open_app: Opener) -> None:
    app = open_app(page="train")
    assert not app.exception
    assert app.selectbox(key="experiment").value == "Your own configuration"
    assert app.session_state["train_arms"] == ["none", "aux_loss", "loss_free"]
    assert app.selectbox(key="preset").value == "quick"


def test_a_choice_fills_the_form_and_says_when_it_was_changed(open_app: Opener) -> None:
    experiment = next(e for e in EXPERIMENTS if e.slug == "same-loss-other-scope")
    app = open_app(page="train")
    app = app.selectbox(key="experiment").set_value(experiment.title).run()
    assert not app.exception
    assert app.selectbox(key="preset").value == experiment.preset
    assert app.session_state["train_arms"] == list(experiment.arms)
    assert app.text_input(key="train_seeds").value == experiment.seeds
    assert "not decided" in words(app)
    assert sentence("train.form_changed") not in words(app)
    app = app.text_input(key="train_seeds").set_value("7").run()
    assert sentence("train.form_changed") in words(app)


def test_a_setting_of_an_experiment_reaches_its_field_and_others_go_back(
    open_app: Opener, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    folder = tmp_path  # type: ignore[assignment]
    text = 'title = "T"\nverdict = "good"\ncomment = "C."\npreset = "quick"\narms = ["none"]\n'
    (folder / "01-t.toml").write_text(text + '[settings]\n"model.top_k" = 1\n', encoding="utf-8")  # type: ignore[operator]
    monkeypatch.setattr(lesson_course, "EXPERIMENTS", folder)
    app = open_app(page="train")
    app = app.number_input(key="train_quick_training.num_steps").set_value(55).run()
    app = app.selectbox(key="experiment").set_value("T").run()
    assert not app.exception
    assert app.number_input(key="train_quick_model.top_k").value == 1
    assert app.number_input(key="train_quick_training.num_steps").value == 200


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda e: e.slug)
def test_a_comment_has_its_numbers(open_shipped: Opener, experiment: lesson_course.Experiment) -> None:
    app = open_shipped("train")
    app = app.selectbox(key="experiment").set_value(experiment.title).run()
    assert not app.exception
    assert sentence("lessons.not_here") not in words(app)
    assert "max_vio[" not in words(app)
