"""Generated two-hop questions in the form of HotpotQA (Yang et al., arXiv 1809.09600).

The answer needs two facts from different paragraphs: where a person was born, and in which country that city is.
Further people and cities are distractors, so that each fact alone leaves as many candidates as there are countries.
It is not HotpotQA: names and texts are made up, one question pattern, no Wikipedia.

People, cities and countries of held-out problems never occur in training problems; their syllables do, so that
copying a name can be learnt.
"""

from collections.abc import Iterator
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
HELD_OUT_NAMES = 0.15
"""Share of the names of each kind that only held-out problems use."""
SPLITS = ("train", "held_out")
ONE_HOP, TWO_HOP = "one_hop", "two_hop"

STARTS = [
    "Ba",
    "De",
    "Fi",
    "Go",
    "Ha",
    "Je",
    "Ki",
    "Lo",
    "Mu",
    "Na",
    "Pe",
    "Ri",
    "So",
    "Ta",
    "Ve",
    "Wi",
    "Zo",
    "Du",
    "Le",
    "Mi",
]
ENDS = {
    "person": [
        "lan",
        "mer",
        "tis",
        "von",
        "dra",
        "kel",
        "nis",
        "sha",
        "bor",
        "gan",
        "fen",
        "rik",
        "mon",
        "las",
        "ren",
        "vin",
        "dor",
        "sam",
        "pel",
        "tor",
    ],
    "city": ["burg", "ford", "port", "ville", "mouth", "field", "stead", "wick", "dale", "haven"],
    "country": ["land", "stan", "mark", "ria", "via", "nia", "donia", "garia", "tania", "lia"],
}
DIRECTIONS = ["North", "South", "East", "West", "Upper", "Lower", "Old", "New"]


@dataclass(frozen=True, kw_only=True)
class TwoHopProblem:
    """One problem: paragraphs, a question, and the answer."""

    paragraphs: tuple[str, ...]
    question: str
    answer: str
    supporting: tuple[int, ...]
    """Places of the paragraphs that the answer follows from."""
    candidates: tuple[str, ...]
    """The answer and its distractors: everything of its kind in the paragraphs."""

    @property
    def prompt(self) -> str:
        """The text up to the answer."""
        return "\n".join(["Facts:", *self.paragraphs, f"Question: {self.question}", "Answer:"])

    @property
    def text(self) -> str:
        """The text to train on; a line break ends the answer."""
        return f"{self.prompt} {self.answer}\n\n"


@cache
def names(kind: str, split: str) -> tuple[str, ...]:
    """All names of a kind (person, city, country) in a split; no name is in both splits."""
    every = [start + end for start, end in product(STARTS, ENDS[kind])]
    return tuple(name for name in every if (fraction(kind, name) < HELD_OUT_NAMES) == (split == "held_out"))


def problem(kind: str, split: str, number: int, seed: int = 0) -> TwoHopProblem:
    """Problem `number` of a split. kind: two_hop, or one_hop as a control, where one fact is enough."""
    draws = Draws("two hop", VERSION, seed, kind, split, number)
    people, cities, lands = (draws.sample(names(k, split), NUM_CHAINS) for k in KINDS_OF_NAMES)
    countries = [
        f"{word} {land}" for word, land in zip(draws.sample(DIRECTIONS, NUM_CHAINS), lands, strict=True)
    ]
    births = [f"{person} was born in {city}." for person, city in zip(people, cities, strict=True)]
    places = [f"{city} is a city in {country}." for city, country in zip(cities, countries, strict=True)]
    paragraphs = draws.shuffled(births + places)
    if kind == TWO_HOP:
        question, facts = f"In which country was {people[0]} born?", (births[0], places[0])
    else:
        question, facts = f"In which country is {cities[0]}?", (places[0],)
    return TwoHopProblem(
        paragraphs=tuple(paragraphs),
        question=question,
        answer=countries[0],
        supporting=tuple(sorted(paragraphs.index(fact) for fact in facts)),
        candidates=tuple(sorted(countries)),
    )


def problems(kind: str, split: str, count: int, seed: int = 0) -> Iterator[TwoHopProblem]:
    """The first `count` problems of a split; those of seed 0 are the corpus's own."""
    return (problem(kind, split, number, seed) for number in range(count))


def domain(kind: str) -> Domain:
    """The corpus domain of a kind of question: one unit per problem."""

    def units(split: str, count: int) -> tuple[Unit, ...]:
        each = enumerate(problems(kind, split, count))
        return tuple(Unit(name=f"{kind}/{split}/{number}", text=one.text) for number, one in each)

    return Domain(
        name=kind, train=units("train", TRAIN_PROBLEMS), held_out=units("held_out", HELD_OUT_PROBLEMS)
    )
