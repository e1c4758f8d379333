"""Lessons as files: what is read, what is refused and with which words, and how an answer is found."""

from pathlib import Path

import pytest
from sentences import pattern, sentence

from explorer.course.cards import LESSONS, LessonCard, first_card
from explorer.course.experiments import load_experiments
from explorer.course.facts import filled, placeholders, read_fact
from explorer.course.files import FileProblem
from explorer.course.lessons import Key, Prediction, Vocabulary, load_course, load_lesson
from explorer.errors import ConfigError
from explorer.figures import course

WORDS = Vocabulary(
    panels={
        "curve": {
            "arms": Key(kind="texts", words="rules", needed=True),
            "until": Key(kind="integer", words="last step"),
            "log": Key(kind="flag", words="logarithmic"),
        }
    },
    facts=("max_vio", "verdict"),
    terms=("max_vio",),
)
GOOD = """
title = "One"
question = "Why?"
minutes = 2
terms = ["max_vio"]
[[steps]]
text = "Look."
panel = "curve"
keys = { arms = ["none"], log = true }
notice = "It is {max_vio[none]:.2f}."
[steps.prediction]
question = "Which?"
options = ["a", "b"]
rule = "smallest"
facts = ["max_vio[none]", "max_vio[loss_free]"]
before = { until = 100 }
"""


def write(folder: Path, text: str, name: str = "01-one.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_lesson_is_read_whole(tmp_path: Path) -> None:
    lesson = load_lesson(write(tmp_path, GOOD), WORDS)
    assert (lesson.slug, lesson.title, lesson.minutes, lesson.terms) == ("one", "One", 2, ("max_vio",))
    (step,) = lesson.steps
    assert step.panel == "curve"
    assert step.keys == {"arms": ["none"], "log": True}
    assert step.prediction is not None
    assert step.prediction.before == {"until": 100}
    assert placeholders(step.notice) == ["max_vio[none]"]


BAD = [
    ('title = "One"', "", "01-one.toml: title " + sentence("lessons.missing_text")),
    ('title = "One"', "title = 3", "01-one.toml: title = 3: " + sentence("lessons.text")),
    ('title = "One"', 'title = " "', "01-one.toml: title = ' ': " + sentence("lessons.not_empty")),
    ("minutes = 2", "minutes = 99",
     "01-one.toml: minutes = 99: " + sentence("lessons.minutes", low=1, high=60)),
    ("minutes = 2", 'autor = "x"', "01-one.toml: autor = 'x': " + sentence("lessons.fields") + " title,"),
    ('["max_vio"]', '["entropy"]', "01-one.toml: terms = 'entropy': " + sentence("lessons.glossary_key")),
    ('panel = "curve"', 'panel = "pie"',
     "01-one.toml: steps[1].panel = 'pie': " + sentence("lessons.panels")),
    ('arms = ["none"], ', "", "01-one.toml: steps[1].keys = {'log': True}: " + sentence("lessons.arms_key")),
    ("log = true", "log = 1", "01-one.toml: steps[1].keys.log = 1: " + sentence("lessons.true_or_false")),
    ("log = true", "x = 1", "01-one.toml: steps[1].keys.x = 1: " + sentence("lessons.panel_keys")),
    ("until = 100", "until = -1",
     "steps[1].prediction.before.until = -1: " + sentence("errors.whole_number")),
    ('"Look."', '"' + "word " * 81 + '"',
     "steps[1].text = 'word word word word …': " + sentence("lessons.words", words=81, most=80)),
    ("{max_vio[none]:.2f}", "{gini[none]}", "steps[1].notice = 'gini[none]': " + sentence("lessons.facts")),
    ('"max_vio[none]",', '"max_vio",',
     "steps[1].prediction.facts = 'max_vio': " + sentence("lessons.fact_form")),
    ('["a", "b"]', '["a"]', "steps[1].prediction.options = ['a']: " + sentence("lessons.at_least_two")),
    ('"smallest"', '"best"',
     "steps[1].prediction.rule = 'best': " + sentence("lessons.prediction_rules") + " largest,"),
    ('"smallest"', '"between"', sentence("lessons.one_for_between")),
    ('["a", "b"]', '["a", "b", "c"]', sentence("lessons.one_per_option", options=3)),
    ('"smallest"', '"smallest"\nbounds = [1]', "bounds = [1.0]: " + sentence("lessons.between_only")),
    ("[[steps]]", "[steps]", "01-one.toml: steps = {"),
    ('title = "One"', 'title = "One"\nslug = "x"', "slug = 'x': is not a field here; the fields are title,"),
    ('["max_vio"]', '["max_vio", 3]', "01-one.toml: terms = 3: every entry must be a text."),
    ('["max_vio"]', '"max_vio"', "01-one.toml: terms = 'max_vio': must be a list of texts."),
    ("minutes = 2", "minutes = true", "01-one.toml: minutes = True: must be a whole number from 1 to 60."),
    ('{ arms = ["none"], log = true }', '"x"', "01-one.toml: steps[1].keys = 'x': must be a table."),
    ('"smallest"', '"smallest"\nbounds = [true]', "prediction.bounds = True: every entry must be a number."),
    ('"smallest"', '"sign"', "options = ['a', 'b']: must be three: below, at and above zero."),
    ('question = "Which?"', 'question = "Which?"\nhint = 1', "prediction.hint = 1: is not a field here; the"),
    ('["none"]', '[]', "steps[1].keys.arms = []: must be a list of texts, not empty."),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "words"), BAD)
def test_a_mistake_is_one_sentence(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in GOOD
    with pytest.raises(FileProblem) as caught:
        load_lesson(write(tmp_path, GOOD.replace(old, new, 1)), WORDS)
    assert any(words in message for message in caught.value.sentences), caught.value.sentences
    assert all(message.endswith(".") for message in caught.value.sentences)


def test_a_lesson_without_steps_is_refused(tmp_path: Path) -> None:
    text = GOOD.partition("[[steps]]")[0] + "steps = []"
    with pytest.raises(FileProblem) as caught:
        load_lesson(write(tmp_path, text), WORDS)
    assert caught.value.sentences == ("01-one.toml: steps = []: must have at least one entry.",)


def test_all_mistakes_of_a_file_are_said_at_once(tmp_path: Path) -> None:
    text = GOOD.replace('"curve"', '"pie"').replace('title = "One"', "").replace('"smallest"', '"best"')
    with pytest.raises(FileProblem) as caught:
        load_lesson(write(tmp_path, text), WORDS)
    assert len(caught.value.sentences) == 3


def test_a_damaged_file_does_not_stop_the_others(tmp_path: Path) -> None:
    write(tmp_path, "title = ", "01-broken.toml")
    write(tmp_path, GOOD, "02-one.toml")
    write(tmp_path, GOOD, "03-one.toml")
    course = load_course(tmp_path, WORDS)
    assert [lesson.slug for lesson in course] == ["one"]
    assert len(course.problems) == 2
    assert "01-broken.toml: " + sentence("errors.not_toml") in course.problems[0]
    assert "03-one.toml: " + sentence("lessons.other_name", name="one") in course.problems[1]
    assert course.find("one") is course.lessons[0]
    assert course.find("two") is None


def prediction_of(rule: str, facts: tuple[str, ...], bounds: tuple[float, ...] = ()) -> Prediction:
    return Prediction(question="?", options=("a", "b", "c"), rule=rule, facts=facts, bounds=bounds)


VALUES = {"x[]": 1.0, "y[]": -2.0, "z[]": 0.0, "w[]": 5.0}


@pytest.mark.parametrize(
    ("prediction", "right"),
    [
        (prediction_of("largest", ("x[]", "y[]", "z[]")), 0),
        (prediction_of("smallest", ("x[]", "y[]", "z[]")), 1),
        (prediction_of("between", ("x[]",), (1, 5)), 1),
        (prediction_of("between", ("w[]",), (1, 5)), 2),
        (prediction_of("between", ("z[]",), (1, 5)), 0),
        (prediction_of("sign", ("y[]",)), 0),
        (prediction_of("sign", ("z[]",)), 1),
        (prediction_of("sign", ("x[]",)), 2),
    ],
)
def test_the_rule_finds_the_right_option(prediction: Prediction, right: int) -> None:
    assert prediction.right(VALUES.__getitem__) == right


def test_numbers_are_filled_in_with_a_real_minus() -> None:
    values = {"a[1; b=2]": -0.0371, "n[]": 51136, "w[]": sentence("captions.not_significant")}
    text = "{a[1; b=2]:+.3f} and {n[]:,}, {w[]}; {left} as it is, and a-b"
    assert (
        filled(text, values.__getitem__)
        == "−0.037 and 51,136, " + sentence("captions.not_significant") + "; {left} as it is, and a-b"
    )


def test_a_fact_is_a_name_and_arguments() -> None:
    assert read_fact("paired[loss_free; aux_loss:coeff=10,scope=sequence; lm_loss]") == (
        "paired",
        ("loss_free", "aux_loss:coeff=10,scope=sequence", "lm_loss"),
    )
    assert read_fact("n[]") == ("n", ())
    with pytest.raises(FileProblem, match=pattern("lessons.written_name")):
        read_fact("n")


ORDER = """
title = "A"
verdict = "bad"
comment = "Ends at {max_vio[none]:.2f}."
preset = "tiny"
arms = ["none", "loss_free:u=0.01"]
[settings]
"model.top_k" = 1
"""


def test_an_experiment_is_an_order_with_a_comment(tmp_path: Path) -> None:
    write(tmp_path, ORDER, "01-a.toml")
    ((experiment,), problems) = load_experiments(tmp_path, ("max_vio",))
    assert problems == ()
    assert (experiment.slug, experiment.seeds, experiment.settings) == ("a", "0", {"model.top_k": 1})


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"bad"', '"ugly"', "verdict = 'ugly': " + sentence("lessons.verdicts")),
        ('"tiny"', '"huge"', "preset = 'huge': " + sentence("lessons.presets")),
        ("u=0.01", "u=fast", "arms = 'loss_free:u=fast': " + sentence("lessons.unusable_arm")),
        ("model.top_k", "model.topk", 'settings."model.topk" = 1: ' + sentence("lessons.setting_form")),
        ("model.top_k", "top_k", 'settings."top_k" = 1: ' + sentence("lessons.setting_form")),
        ("max_vio[none]", "gini[none]", "comment = 'gini[none]': " + sentence("lessons.no_fact")),
        ('title = "A"', 'title = "A"\nseeds = 1', "01-a.toml: seeds = 1: must be a text."),
        ('"none", ', "1, ", "01-a.toml: arms = 1: every entry must be a text."),
        ('verdict = "bad"', "", "01-a.toml: verdict is missing: it must be a text."),
    ],
)
def test_a_wrong_experiment_gets_a_sentence(tmp_path: Path, old: str, new: str, words: str) -> None:
    write(tmp_path, ORDER.replace(old, new, 1), "01-a.toml")
    known, problems = load_experiments(tmp_path, ("max_vio",))
    assert known == ()
    assert any(words in message for message in problems), problems


def test_prediction_of_an_unknown_fact_is_not_swallowed() -> None:
    def unknown(fact: str) -> float:
        raise ConfigError("fact", fact, "is not known", "choose another")

    with pytest.raises(ConfigError):
        prediction_of("largest", ("x[]", "y[]", "z[]")).right(unknown)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("title = " + "[" * 20_000, "nested too deeply"),
        ("seed = " + "9" * 6_000, sentence("errors.not_toml")),
        ("title = " + "{a=" * 20_000, "nested too deeply"),
    ],
    ids=["lists", "digits", "tables"],
)
def test_a_file_beyond_all_measure_gets_a_sentence_too(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "01-huge.toml").write_text(content, encoding="utf-8")
    for problems in (
        load_course(tmp_path, ()).problems,
        load_experiments(tmp_path, ())[1],
    ):
        (message,) = problems
        assert message.startswith("01-huge.toml: ")
        assert words in message
        assert len(message) < 300


def test_a_long_value_is_not_repeated_whole(tmp_path: Path) -> None:
    (tmp_path / "01-long.toml").write_text(f'verdict = "{"x" * 50_000}"', encoding="utf-8")
    _, problems = load_experiments(tmp_path, ())
    assert any("verdict = 'xxx" in message for message in problems)
    assert all(len(message) < 500 for message in problems)


def test_the_card_of_the_first_lesson_says_what_the_whole_lesson_says(tmp_path: Path) -> None:
    write(tmp_path, GOOD, "02-one.toml")
    write(tmp_path, GOOD.replace("minutes = 2\n", ""), "03-two.toml")
    assert first_card(tmp_path) == LessonCard(slug="one", question="Why?", minutes=2)
    write(tmp_path, "not TOML", "01-broken.toml")
    write(tmp_path, "question = 3", "00-no-question.toml")
    assert first_card(tmp_path) == LessonCard(slug="one", question="Why?", minutes=2)
    (tmp_path / "02-one.toml").unlink()
    assert first_card(tmp_path) == LessonCard(slug="two", question="Why?", minutes=3)
    assert first_card(tmp_path / "nothing") is None


def test_the_first_lesson_of_the_checkout_has_a_card() -> None:
    lesson = load_course(LESSONS, course.vocabulary()).lessons[0]
    card = LessonCard(slug=lesson.slug, question=lesson.question, minutes=lesson.minutes)
    assert first_card(LESSONS) == card
