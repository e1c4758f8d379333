"""Generated two-hop questions in the form of HotpotQA (Yang et al., arXiv 1809.09600).

The answer needs two facts from different paragraphs: where a person was born, and in which country that city
is. Further people and cities are distractors, so that each fact alone leaves as many candidates as there are
countries. It is not HotpotQA: names and texts are made up, one question pattern, no Wikipedia.

Names have two words. People, cities and countries of held-out problems never occur in training problems;
their words do, in other pairs, so that copying a name can be learnt and remembering it does not help.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

from explorer.corpus.draws import Draws, fraction
from explorer.corpus.units import Domain, Unit

VERSION = 1
"""Increment when any generated text changes: it enters the digest of the corpus."""
TRAIN_PROBLEMS, HELD_OUT_PROBLEMS = 12_000, 1_000
NUM_CHAINS = 3
"""People, cities and countries per problem; one chain is asked for."""
KINDS_OF_NAMES = ("person", "city", "country")
HELD_OUT_NAMES = 0.08
"""Share of the names of each kind that only held-out problems use."""
SPLITS = ("train", "held_out")
RECALL, ONE_HOP, TWO_HOP = "recall", "one_hop", "two_hop"

STARTS = [
    "Ba", "De", "Fi", "Go", "Ha", "Je", "Ki", "Lo", "Mu", "Na",
    "Pe", "Ri", "So", "Ta", "Ve", "Wi", "Zo", "Du", "Le", "Mi",
]  # fmt: skip
ENDINGS = {
    "person": (["lan", "mer"], ["son", "berg"]),
    "city": (["ver", "dan"], ["ford", "ton"]),
    "country": (["mon", "lis"], ["land", "ria"]),
}
"""Of the first and of the second word of each kind of name, after one of STARTS."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question about the paragraphs, and its answer."""

    text: str
    answer: str
    supporting: tuple[int, ...]
    """Places of the paragraphs that the answer follows from."""


@dataclass(frozen=True, kw_only=True)
class TwoHopProblem:
    """One problem: paragraphs, a question with its answer, and other questions about the same paragraphs."""

    paragraphs: tuple[str, ...]
    first: Question
    others: tuple[Question, ...]
    """Only in the text to train on, after the first, which the prompt asks: they teach the same facts."""
    candidates: tuple[str, ...]
    """The answer and its distractors: everything of its kind in the paragraphs."""

    @property
    def question(self) -> str:
        return self.first.text

    @property
    def answer(self) -> str:
        return self.first.answer

    @property
    def prompt(self) -> str:
        """The text up to the answer."""
        return "\n".join(["Facts:", *self.paragraphs, f"Question: {self.question}", "Answer:"])

    @property
    def text(self) -> str:
        """The text to train on; a line break ends each answer."""
        more = "".join(f"Question: {one.text}\nAnswer: {one.answer}\n" for one in self.others)
        return f"{self.prompt} {self.answer}\n{more}\n"


@cache
def names(kind: str, split: str) -> tuple[str, ...]:
    """All names of a kind (person, city, country) in a split; no name is in both splits."""
    first, second = (["".join(parts) for parts in product(STARTS, ends)] for ends in ENDINGS[kind])
    every = [f"{one} {two}" for one, two in product(first, second)]
    return tuple(name for name in every if (fraction(kind, name) < HELD_OUT_NAMES) == (split == "held_out"))


def _distinct(draws: Draws, values: Sequence[str]) -> list[str]:
    """One name per chain; no two share a word, so that either word says which chain it is."""
    while True:
        sample = draws.sample(values, NUM_CHAINS)
        if len({word for name in sample for word in name.split()}) == 2 * NUM_CHAINS:
            return sample


def problem(kind: str, split: str, number: int, seed: int = 0) -> TwoHopProblem:
    """Problem `number` of a split. kind: two_hop, or one_hop as a control, where one fact is enough."""
    draws = Draws("two hop", VERSION, seed, kind, split, number)
    people, cities, countries = (_distinct(draws, names(k, split)) for k in KINDS_OF_NAMES)
    births = [f"- {person} was born in {city}." for person, city in zip(people, cities, strict=True)]
    places = [f"- {city} is in {country}." for city, country in zip(cities, countries, strict=True)]
    paragraphs = draws.shuffled(births + places)

    def question(chain: int) -> Question:
        text, facts = f"In which country is {cities[chain]}?", [places[chain]]
        if kind == TWO_HOP:
            text, facts = f"In which country was {people[chain]} born?", [births[chain], places[chain]]
        places_of_facts = sorted(paragraphs.index(fact) for fact in facts)
        return Question(text=text, answer=countries[chain], supporting=tuple(places_of_facts))

    questions = [question(chain) for chain in range(NUM_CHAINS)]
    return TwoHopProblem(
        paragraphs=tuple(paragraphs),
        first=questions[0],
        others=tuple(questions[1:]),
        candidates=tuple(sorted(countries)),
    )


def problems(kind: str, split: str, count: int, seed: int = 0) -> Iterator[TwoHopProblem]:
    """The first `count` problems of a split; those of seed 0 are the corpus's own."""
    return (problem(kind, split, number, seed) for number in range(count))


def texts(kind: str, split: str, count: int) -> Iterator[str]:
    """The first `count` texts of a domain: problems with their questions, or facts to recall."""
    if kind == RECALL:
        return (_recall(split, number) for number in range(count))
    return (one.text for one in problems(kind, split, count))


def _recall(split: str, number: int) -> str:
    """The facts of a problem twice, the second time in another order, so that each can be completed.

    Trained on beside the questions: far more of its words follow from what is said before, and copying a
    name is what questions need first.
    """
    facts = problem(TWO_HOP, split, number, seed=1).paragraphs
    again = Draws("recall", VERSION, split, number).shuffled(facts)
    return "\n".join(["Facts:", *facts, "Facts:", *again, "\n"])


def domain(kind: str) -> Domain:
    """A domain of the corpus: one unit per text."""

    def units(split: str, count: int) -> tuple[Unit, ...]:
        each = enumerate(texts(kind, split, count))
        return tuple(Unit(name=f"{kind}/{split}/{number}", text=text) for number, text in each)

    return Domain(
        name=kind, train=units("train", TRAIN_PROBLEMS), held_out=units("held_out", HELD_OUT_PROBLEMS)
    )
