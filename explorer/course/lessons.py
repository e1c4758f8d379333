"""Lessons: their parts, and reading them from `lessons/*.toml`.

The numbers and verdicts of a lesson are placeholders, and its right answers are rules over *facts*: values
queried from recorded runs when the lesson is shown (`explorer.figures.facts`). Judgements in words are not
computed; review them when the runs are trained again. How to write one: docs/lessons.md.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    Field,
    Strict,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from explorer.course.cards import DEFAULT_MINUTES, slug_of
from explorer.course.facts import Facts, placeholders, wrong_facts
from explorer.course.files import Mistake
from explorer.course.model import (
    AnyText,
    FileModel,
    Number,
    Text,
    at_most,
    kind_of,
    load,
    load_folder,
    refuse,
)

MOST_WORDS = 80
"""Of the text of a step, and of what there is to notice after it."""
RULES = ("largest", "smallest", "between", "sign")
KINDS: dict[str, Any] = {
    "text": AnyText,
    "texts": Annotated[list[AnyText], Field(min_length=1)],
    "integer": Annotated[int, Strict(), Field(ge=0)],
    "flag": Annotated[bool, Strict()],
}
"""Kinds of settings of a panel."""
KIND_WORDS = {name: kind_of(kind) for name, kind in KINDS.items()} | {"texts": "a list of texts, not empty"}
_CHECKS = {name: TypeAdapter(kind) for name, kind in KINDS.items()}


@dataclass(frozen=True, kw_only=True)
class Key:
    """One setting of a panel."""

    kind: str
    """A name in KINDS."""
    words: str
    """Its meaning, for docs and messages."""
    needed: bool = False

    def fits(self, value: object) -> bool:
        """Whether a value is of this kind."""
        try:
            _CHECKS[self.kind].validate_python(value)
        except ValidationError:
            return False
        return True


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """The names that a lesson may use."""

    panels: Mapping[str, Mapping[str, Key]] = field(default_factory=dict)
    """Panel -> key -> its kind."""
    facts: Collection[str] = ()
    terms: Collection[str] = ()
    """Keys of the Glossary."""


def _known_facts(text: str, info: ValidationInfo) -> str:
    """A text whose placeholders are facts."""
    if isinstance(info.context, Vocabulary):
        refuse(wrong_facts(placeholders(text), info.context.facts))
    return text


ShortText = Annotated[Text, AfterValidator(at_most(MOST_WORDS)), AfterValidator(_known_facts)]


class Prediction(FileModel):
    """A question before the figure is shown. The data decide which option is right."""

    question: Text
    rule: Text
    """largest, smallest: the option whose fact is so. between: the option in whose interval the one fact
    lies. sign: below, at or above zero."""
    options: tuple[AnyText, ...]
    facts: tuple[AnyText, ...]
    """One per option, or a single one for `between` and `sign`."""
    bounds: tuple[Number, ...] = Field(default=(), validate_default=True)
    """Rising bounds between the options of `between`; a value on a bound belongs above it."""
    before: Mapping[str, Any] = {}
    """Keys of the panel that is drawn before the answer; without any, none is drawn until then."""

    @field_validator("rule")
    @classmethod
    def _is_rule(cls, rule: str) -> str:
        wrong = Mistake(rule, f"is not a rule; the rules are {', '.join(RULES)}")
        refuse([] if rule in RULES else [wrong])
        return rule

    @field_validator("options")
    @classmethod
    def _enough_options(cls, options: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        rules = []
        if len(options) < 2:
            rules.append("must be at least two")
        if info.data.get("rule") == "sign" and len(options) != 3:
            rules.append("must be three: below, at and above zero")
        refuse(Mistake(list(options), rule) for rule in rules)
        return options

    @field_validator("facts")
    @classmethod
    def _facts_of_the_rule(cls, facts: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        mistakes = wrong_facts(facts, info.context.facts) if isinstance(info.context, Vocabulary) else []
        rule, options = info.data.get("rule"), info.data.get("options")
        if rule in ("largest", "smallest"):
            if options is not None and len(facts) != len(options):
                mistakes.append(Mistake(list(facts), f"must be {len(options)}, one per option"))
        elif rule is not None and len(facts) != 1:
            mistakes.append(Mistake(list(facts), f"must be one for the rule {rule}"))
        refuse(mistakes)
        return facts

    @field_validator("bounds")
    @classmethod
    def _bounds_of_the_rule(cls, bounds: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        rule, options, rules = info.data.get("rule"), info.data.get("options"), []
        if rule == "between" and options is not None and len(bounds) != len(options) - 1:
            rules.append(f"must be {len(options) - 1}, one fewer than the options")
        if list(bounds) != sorted(set(bounds)):
            rules.append("must rise")
        if bounds and rule is not None and rule != "between":
            rules.append("belong to the rule between only")
        refuse(Mistake(list(bounds), rule) for rule in rules)
        return bounds

    def right(self, facts: Facts) -> int:
        """Index of the right option."""
        values = [float(facts(fact)) for fact in self.facts]
        if self.rule == "largest":
            return values.index(max(values))
        if self.rule == "smallest":
            return values.index(min(values))
        if self.rule == "sign":
            return 0 if values[0] < 0 else 2 if values[0] > 0 else 1
        return sum(values[0] >= bound for bound in self.bounds)


class Step(FileModel):
    """One screen: a text, a figure, and a note on what it shows."""

    text: ShortText
    panel: Text
    keys: Mapping[str, Any] = Field(default={}, validate_default=True)
    """Settings of the panel; the link beside it opens the page that has them too."""
    notice: ShortText
    prediction: Prediction | None = None

    @field_validator("panel")
    @classmethod
    def _is_panel(cls, panel: str, info: ValidationInfo) -> str:
        if isinstance(info.context, Vocabulary) and panel not in info.context.panels:
            panel_names = ", ".join(sorted(info.context.panels))
            refuse([Mistake(panel, f"is not a panel; the panels are {panel_names}")])
        return panel

    @field_validator("keys")
    @classmethod
    def _keys_of_the_panel(cls, keys: Mapping[str, Any], info: ValidationInfo) -> Mapping[str, Any]:
        refuse(_wrong_keys(keys, info))
        return keys

    @field_validator("prediction")
    @classmethod
    def _keys_before(cls, prediction: Prediction | None, info: ValidationInfo) -> Prediction | None:
        if prediction is not None and prediction.before and "keys" in info.data:
            mistakes = _wrong_keys({**info.data["keys"], **prediction.before}, info)
            refuse(Mistake(m.value, m.rule, f".before{m.under}") for m in mistakes)
        return prediction


def _wrong_keys(keys: Mapping[str, Any], info: ValidationInfo) -> list[Mistake]:
    """Settings that the panel of a step does not have, of another kind, or missing."""
    if not isinstance(info.context, Vocabulary) or "panel" not in info.data:
        return []
    panel = info.context.panels[info.data["panel"]]
    mistakes = []
    for name, value in keys.items():
        if name not in panel:
            offered = ", ".join(panel) or "none"
            rule = f"is not a key of this panel; its keys are {offered}"
            mistakes.append(Mistake(value, rule, f".{name}"))
        elif not panel[name].fits(value):
            mistakes.append(Mistake(value, f"must be {KIND_WORDS[panel[name].kind]}", f".{name}"))
    missing = {name: key for name, key in panel.items() if key.needed and name not in keys}
    return mistakes + [Mistake(dict(keys), f"must give {n} ({key.words})") for n, key in missing.items()]


class Lesson(FileModel):
    """A short course on one question."""

    slug: str
    """Its name in an address, from the name of its file."""
    title: Text
    question: Text
    minutes: Annotated[int, Strict()] = Field(default=DEFAULT_MINUTES, ge=1, le=60)
    terms: tuple[AnyText, ...] = ()
    """Entries of the Glossary that explain its words."""
    steps: tuple[Step, ...]

    @field_validator("steps")
    @classmethod
    def _at_least_one(cls, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        # Not `min_length`, which would count the valid entries only.
        refuse([] if steps else [Mistake([], "must have at least one entry")])
        return steps

    @field_validator("terms")
    @classmethod
    def _in_the_glossary(cls, terms: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if isinstance(info.context, Vocabulary):
            unknown = [term for term in terms if term not in info.context.terms]
            refuse(Mistake(term, "is not a key of the Glossary") for term in unknown)
        return terms


@dataclass(frozen=True, kw_only=True)
class Course:
    """All lessons that could be read, and one sentence per mistake in the others."""

    lessons: tuple[Lesson, ...]
    problems: tuple[str, ...]

    def __iter__(self) -> Iterator[Lesson]:
        return iter(self.lessons)

    def find(self, slug: str) -> Lesson | None:
        return next((lesson for lesson in self.lessons if lesson.slug == slug), None)


def load_course(folder: Path, vocabulary: Vocabulary) -> Course:
    """Every `*.toml` of a folder, in the order of the file names. A damaged file does not stop the others."""
    lessons, problems = load_folder(folder, partial(load_lesson, vocabulary=vocabulary))
    return Course(lessons=lessons, problems=problems)


def load_lesson(path: Path, vocabulary: Vocabulary) -> Lesson:
    """Read one file. Raises FileProblem with one sentence per mistake."""
    return load(path, Lesson, vocabulary, slug=slug_of(path))
