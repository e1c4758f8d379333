"""Lessons as files: what a lesson is made of, and how one is read from `lessons/*.toml`.

The numbers and verdicts of a lesson are placeholders, and its right answers are rules over *facts*: values
asked of recorded runs when the lesson is shown (`explorer.figures.facts`). Judgements in words are not
computed; they must be read again when the runs are trained again. How to write one: docs/lessons.md.
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
    """What it means, for docs and messages."""
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
    """What a lesson may name."""

    panels: Mapping[str, Mapping[str, Key]]
    """Panel -> key -> what it may be."""
    facts: Collection[str]
    terms: Collection[str]
    """Keys of the Glossary."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """A question asked before the figure is shown. The data decide which option is right."""

    question: str
    options: tuple[str, ...]
    rule: str
    """largest, smallest: the option whose fact is so. between: the option in whose interval the one fact
    lies. sign: below, at or above zero."""
    facts: tuple[str, ...]
    """One for each option, or the one that is looked at."""
    bounds: tuple[float, ...] = ()
    """Between the options of `between`, rising; a value on a bound belongs above it."""
    before: Mapping[str, Any] = field(default_factory=dict)
    """Keys with which the panel is drawn before the answer; without any it is not drawn until then."""

    def right(self, facts: Facts) -> int:
        """Index of the option that holds."""
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
    """One screen: a text, a figure, and what to notice in it."""

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
    """All lessons that could be read, and one sentence for every mistake in the others."""

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

    Raises FileProblem with one sentence for each mistake.
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


def _check_rule(table: Table, asked: Prediction) -> None:
    """The numbers of options, facts and bounds must fit the rule."""
    options, facts = len(asked.options), len(asked.facts)
    if options < 2:
        table.wrong("options", list(asked.options), "must be at least two")
    if asked.rule not in RULES:
        table.wrong("rule", asked.rule, f"is not a rule; the rules are {', '.join(RULES)}")
    elif asked.rule in ("largest", "smallest"):
        if facts != options:
            table.wrong("facts", list(asked.facts), f"must be {options}, one for each option")
    elif facts != 1:
        table.wrong("facts", list(asked.facts), f"must be one for the rule {asked.rule}")
    if asked.rule == "sign" and options != 3:
        table.wrong("options", list(asked.options), "must be three: below, at and above zero")
    if asked.rule == "between" and len(asked.bounds) != options - 1:
        table.wrong("bounds", list(asked.bounds), f"must be {options - 1}, one fewer than the options")
    if list(asked.bounds) != sorted(set(asked.bounds)):
        table.wrong("bounds", list(asked.bounds), "must rise")
    if asked.bounds and asked.rule != "between":
        table.wrong("bounds", list(asked.bounds), "belong to the rule between only")


def check_facts(table: Table, place: str, asked: Sequence[str], known: Collection[str]) -> None:
    """Note every fact that is written wrongly or not known."""
    for fact in asked:
        found = FACT.fullmatch(fact)
        if found is None:
            table.wrong(place, fact, "must be written name[…], such as max_vio[none]")
        elif found.group(1) not in known:
            table.wrong(place, fact, f"is not a fact; the facts are {', '.join(sorted(known))}")


def read_fact(fact: str) -> tuple[str, tuple[str, ...]]:
    """`difference[loss_free; none; lm_loss]` -> its name and its arguments."""
    found = FACT.fullmatch(fact)
    if found is None:
        raise FileProblem([f"fact = {fact!r}: must be written name[…], such as max_vio[none]."])
    return found.group(1), tuple(piece.strip() for piece in found.group(2).split(";") if piece.strip())


def placeholders(text: str) -> list[str]:
    """The facts that a text names in braces."""
    return [found.group(1) for found in PLACEHOLDER.finditer(text)]


def filled(text: str, facts: Facts) -> str:
    """The text with its numbers: `{max_vio[none]:.2f}` -> `3.50`; a minus is a real one."""

    def value(found: re.Match[str]) -> str:
        answer = format(facts(found.group(1)), found.group(2) or "")
        return answer.replace("-", "−") if re.fullmatch(r"-[\d.,%]+", answer) else answer

    return PLACEHOLDER.sub(value, text)
