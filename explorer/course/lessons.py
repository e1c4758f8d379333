"""Lessons: their parts, and reading them from `lessons/*.toml`.

The numbers and verdicts of a lesson are placeholders, and its right answers are rules over *facts*: values
queried from recorded runs when the lesson is shown (`explorer.figures.facts`). Judgements in words are not
computed; review them when the runs are trained again. How to write one: docs/lessons.md.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from explorer.course.toml_tables import FileProblem, Table

MOST_WORDS = 80
"""Of the text of a step, and of what there is to notice after it."""
RULES = ("largest", "smallest", "between", "sign")

FACT = re.compile(r"([a-z_]+)\[([^\[\]]*)\]")
"""`name[one; two]`: a name and its arguments."""
PLACEHOLDER = re.compile(r"\{([a-z_]+\[[^\[\]]*\])(?::([^{}]*))?\}")

Value = float | int | str
Facts = Callable[[str], Value]
"""Fact as written in a file -> its value; raises ExplorerError where it cannot be known."""


@dataclass(frozen=True, kw_only=True)
class Key:
    """One setting of a panel."""

    kind: str
    """text, texts, integer or flag."""
    words: str
    """Its meaning, for docs and messages."""
    needed: bool = False

    def fits(self, value: object) -> bool:
        """Whether a value is of this kind."""
        if self.kind == "texts":
            return isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)
        if self.kind == "integer":
            return isinstance(value, int) and not isinstance(value, bool) and value >= 0
        return isinstance(value, bool if self.kind == "flag" else str)


KIND_WORDS = {
    "text": "a text",
    "texts": "a list of texts, not empty",
    "integer": "a whole number of at least 0",
    "flag": "true or false",
}


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """The names that a lesson may use."""

    panels: Mapping[str, Mapping[str, Key]]
    """Panel -> key -> its kind."""
    facts: Collection[str]
    terms: Collection[str]
    """Keys of the Glossary."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """A question before the figure is shown. The data decide which option is right."""

    question: str
    options: tuple[str, ...]
    rule: str
    """largest, smallest: the option whose fact is so. between: the option in whose interval the one fact
    lies. sign: below, at or above zero."""
    facts: tuple[str, ...]
    """One per option, or a single one for `between` and `sign`."""
    bounds: tuple[float, ...] = ()
    """Rising bounds between the options of `between`; a value on a bound belongs above it."""
    before: Mapping[str, Any] = field(default_factory=dict)
    """Keys of the panel that is drawn before the answer; without any, none is drawn until then."""

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


@dataclass(frozen=True, kw_only=True)
class Step:
    """One screen: a text, a figure, and a note on what it shows."""

    text: str
    panel: str
    keys: Mapping[str, Any]
    """Settings of the panel; the link beside it opens the page that has them too."""
    notice: str
    prediction: Prediction | None = None


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """A short course on one question."""

    slug: str
    title: str
    question: str
    minutes: int
    steps: tuple[Step, ...]
    terms: tuple[str, ...] = ()
    """Entries of the Glossary that explain its words."""


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
    lessons: list[Lesson] = []
    problems: list[str] = []
    for path in sorted(folder.glob("*.toml")):
        try:
            lesson = load_lesson(path, vocabulary)
        except FileProblem as error:
            problems += error.sentences
            continue
        if any(known.slug == lesson.slug for known in lessons):
            problems.append(f"{path.name}: another lesson has the name {lesson.slug!r}; rename one.")
        else:
            lessons.append(lesson)
    return Course(lessons=tuple(lessons), problems=tuple(problems))


def load_lesson(path: Path, vocabulary: Vocabulary) -> Lesson:
    """One file. `02-what-maxvio-measures.toml` becomes the lesson `what-maxvio-measures`.

    Raises FileProblem with one sentence per mistake.
    """
    table = Table.read(path)
    table.only(("title", "question", "minutes", "terms", "steps"))
    lesson = Lesson(
        slug=slug_of(path),
        title=table.text("title"),
        question=table.text("question"),
        minutes=table.integer("minutes", low=1, high=60, default=3),
        terms=table.texts("terms", needed=False),
        steps=tuple(_step(step, vocabulary) for step in table.tables("steps")),
    )
    for term in lesson.terms:
        if term not in vocabulary.terms:
            table.wrong("terms", term, "is not a key of the Glossary")
    table.done()
    return lesson


def slug_of(path: Path) -> str:
    """The file's name without its number."""
    return re.sub(r"^\d+-", "", path.stem)


def _step(table: Table, vocabulary: Vocabulary) -> Step:
    table.only(("text", "panel", "keys", "notice", "prediction"))
    panel, keys = table.text("panel"), table.plain("keys")
    step = Step(
        text=table.text("text", most_words=MOST_WORDS),
        panel=panel,
        keys=keys,
        notice=table.text("notice", most_words=MOST_WORDS),
        prediction=_prediction(table, panel, keys, vocabulary),
    )
    for name in ("text", "notice"):
        check_facts(table, name, placeholders(getattr(step, name)), vocabulary.facts)
    if panel and panel not in vocabulary.panels:
        known = ", ".join(sorted(vocabulary.panels))
        table.wrong("panel", panel, f"is not a panel; the panels are {known}")
    else:
        _check_keys(table, "keys", keys, vocabulary.panels.get(panel, {}))
    return step


def _check_keys(table: Table, place: str, keys: Mapping[str, Any], known: Mapping[str, Key]) -> None:
    for name, value in keys.items():
        if name not in known:
            offered = ", ".join(known) or "none"
            table.wrong(f"{place}.{name}", value, f"is not a key of this panel; its keys are {offered}")
        elif not known[name].fits(value):
            table.wrong(f"{place}.{name}", value, f"must be {KIND_WORDS[known[name].kind]}")
    for name, key in known.items():
        if key.needed and name not in keys:
            table.wrong(place, dict(keys), f"must give {name} ({key.words})")


def _prediction(
    step: Table, panel: str, keys: Mapping[str, Any], vocabulary: Vocabulary
) -> Prediction | None:
    table = step.table("prediction")
    if table is None:
        return None
    table.only(("question", "options", "rule", "facts", "bounds", "before"))
    prediction = Prediction(
        question=table.text("question"),
        options=table.texts("options"),
        rule=table.text("rule"),
        facts=table.texts("facts"),
        bounds=table.numbers("bounds", needed=False),
        before=table.plain("before"),
    )
    check_facts(table, "facts", prediction.facts, vocabulary.facts)
    _check_rule(table, prediction)
    if prediction.before and panel in vocabulary.panels:
        _check_keys(table, "before", {**keys, **prediction.before}, vocabulary.panels[panel])
    return prediction


def _check_rule(table: Table, prediction: Prediction) -> None:
    """Note numbers of options, facts and bounds that do not fit the rule."""
    options, facts = len(prediction.options), len(prediction.facts)
    if options < 2:
        table.wrong("options", list(prediction.options), "must be at least two")
    if prediction.rule not in RULES:
        table.wrong("rule", prediction.rule, f"is not a rule; the rules are {', '.join(RULES)}")
    elif prediction.rule in ("largest", "smallest"):
        if facts != options:
            table.wrong("facts", list(prediction.facts), f"must be {options}, one per option")
    elif facts != 1:
        table.wrong("facts", list(prediction.facts), f"must be one for the rule {prediction.rule}")
    if prediction.rule == "sign" and options != 3:
        table.wrong("options", list(prediction.options), "must be three: below, at and above zero")
    if prediction.rule == "between" and len(prediction.bounds) != options - 1:
        table.wrong("bounds", list(prediction.bounds), f"must be {options - 1}, one fewer than the options")
    if list(prediction.bounds) != sorted(set(prediction.bounds)):
        table.wrong("bounds", list(prediction.bounds), "must rise")
    if prediction.bounds and prediction.rule != "between":
        table.wrong("bounds", list(prediction.bounds), "belong to the rule between only")


def check_facts(table: Table, place: str, facts: Sequence[str], known: Collection[str]) -> None:
    """Note every malformed or unknown fact."""
    for fact in facts:
        match = FACT.fullmatch(fact)
        if match is None:
            table.wrong(place, fact, "must be written name[…], such as max_vio[none]")
        elif match.group(1) not in known:
            table.wrong(place, fact, f"is not a fact; the facts are {', '.join(sorted(known))}")


def read_fact(fact: str) -> tuple[str, tuple[str, ...]]:
    """`difference[loss_free; none; lm_loss]` -> its name and its arguments."""
    match = FACT.fullmatch(fact)
    if match is None:
        raise FileProblem([f"fact = {fact!r}: must be written name[…], such as max_vio[none]."])
    return match.group(1), tuple(piece.strip() for piece in match.group(2).split(";") if piece.strip())


def placeholders(text: str) -> list[str]:
    """The facts that a text names in braces."""
    return [match.group(1) for match in PLACEHOLDER.finditer(text)]


def filled(text: str, facts: Facts) -> str:
    """The text with its numbers: `{max_vio[none]:.2f}` -> `3.50`; a minus is a real one."""

    def value(match: re.Match[str]) -> str:
        answer = format(facts(match.group(1)), match.group(2) or "")
        return answer.replace("-", "−") if re.fullmatch(r"-[\d.,%]+", answer) else answer

    return PLACEHOLDER.sub(value, text)
