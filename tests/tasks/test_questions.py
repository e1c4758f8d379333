"""Generated questions: splits, supporting facts, answers, and what is counted."""

import hashlib
import re
from itertools import pairwise

import pytest
from task_models import make_scripted, make_trained, reciting

from explorer.corpus import two_hop
from explorer.corpus.two_hop import KINDS_OF_NAMES, Question, TwoHopProblem
from explorer.tasks.answers import f1, is_exact, normalised
from explorer.tasks.generation import Sampling, complete, has_line
from explorer.tasks.questions import answers, graded, questions

KINDS = (two_hop.ONE_HOP, two_hop.TWO_HOP)


def held_out(kind: str, count: int) -> list[TwoHopProblem]:
    return list(two_hop.problems(kind, "held_out", count))


def word_pairs(text: str) -> set[str]:
    return {f"{one} {two}" for one, two in pairwise(re.findall(r"\w+", text))}


@pytest.mark.parametrize("kind", KINDS)
def test_no_name_of_a_held_out_problem_occurs_in_training(kind: str) -> None:
    train = set().union(*(word_pairs(one.text) for one in two_hop.problems(kind, "train", 3000)))
    for problem in held_out(kind, 300):
        for name in KINDS_OF_NAMES:
            used = set(two_hop.names(name, "held_out")) & word_pairs(problem.text)
            assert len(used) == two_hop.NUM_CHAINS
            assert not used & train


def test_names_are_split_and_none_is_two_things() -> None:
    every = [
        name for kind in KINDS_OF_NAMES for split in two_hop.SPLITS for name in two_hop.names(kind, split)
    ]
    assert len(every) == len(set(every))


def solve(paragraphs: list[str], question: str) -> str:
    """Slow reference: read the facts, then follow the question."""
    born = dict(re.findall(r"(\w+ \w+) was born in (\w+ \w+)\.", "\n".join(paragraphs)))
    lies = dict(re.findall(r"(\w+ \w+) is in (\w+ \w+)\.", "\n".join(paragraphs)))
    if person := re.fullmatch(r"In which country was (\w+ \w+) born\?", question):
        return lies[born[person[1]]]
    city = re.fullmatch(r"In which country is (\w+ \w+)\?", question)
    assert city
    return lies[city[1]]


@pytest.mark.parametrize("kind", KINDS)
def test_answers_follow_from_the_supporting_facts_and_from_no_one_of_two(kind: str) -> None:
    for problem in held_out(kind, 200):
        for question in (problem.first, *problem.others):
            facts = [problem.paragraphs[place] for place in question.supporting]
            assert len(facts) == (2 if kind == two_hop.TWO_HOP else 1)
            assert (
                solve(list(problem.paragraphs), question.text)
                == question.answer
                == solve(facts, question.text)
            )
            if kind == two_hop.TWO_HOP:
                (birth,) = (fact for fact in facts if "born" in fact)
                assert question.answer not in birth
        assert {question.answer for question in (problem.first, *problem.others)} == set(problem.candidates)
        assert len(problem.candidates) == two_hop.NUM_CHAINS


def test_the_text_to_train_on_asks_every_question_once() -> None:
    (problem,) = held_out(two_hop.TWO_HOP, 1)
    questions: list[Question] = [problem.first, *problem.others]
    pairs = re.findall(r"Question: (.*)\nAnswer: (.*)\n", problem.text)
    assert pairs == [(question.text, question.answer) for question in questions]
    assert problem.text.startswith(f"{problem.prompt} {problem.answer}\n")


def test_the_answers_place_says_nothing() -> None:
    """Every place among the paragraphs, and every direction, is about equally often right."""
    problems = list(two_hop.problems(two_hop.TWO_HOP, "train", 3000))
    places = [max(p.paragraphs.index(f) for f in p.paragraphs if p.answer in f) for p in problems]
    shares = [places.count(place) / len(places) for place in range(2 * two_hop.NUM_CHAINS)]
    assert max(shares) - min(shares) < 0.06


def test_the_text_of_the_corpus_is_pinned() -> None:
    """A change of the text needs a new VERSION, or cached corpora would keep the old one."""
    kinds = (two_hop.RECALL, *KINDS)
    text = "".join("".join(two_hop.texts(kind, split, 50)) for kind in kinds for split in two_hop.SPLITS)
    assert (two_hop.VERSION, hashlib.sha256(text.encode()).hexdigest()[:16]) == (1, "ab2516dfd9b6a207")


@pytest.mark.parametrize(
    ("answer", "truth", "exact", "score"),
    [
        ("The Old Town", "old town!", True, 1.0),
        ("old", "Old Town", False, 2 / 3),
        ("old old town", "Old Town", False, 4 / 5),
        ("", "Old Town", False, 0.0),
        ("new", "Old Town", False, 0.0),
        ("the", "a", True, 1.0),
    ],
)
def test_exact_match_and_f1(answer: str, truth: str, exact: bool, score: float) -> None:
    assert is_exact(answer, truth) is exact
    assert f1(answer, truth) == pytest.approx(score)
    assert normalised(f" {answer} ") == normalised(answer)


def test_a_model_that_knows_the_answers_is_right_and_one_that_does_not_is_wrong() -> None:
    problems = [problem for kind in KINDS for problem in held_out(kind, 4)]
    result = questions(reciting([problem.text for problem in problems], length=400), 4)
    assert (result.counts["two_hop_exact"], result.counts["two_hop_questions"]) == (4, 4)
    assert result.metrics["two_hop_exact_match"] == result.metrics["two_hop_f1"] == 1.0
    wrong = questions(make_scripted(lambda _: ord("x"), length=400), 4)
    assert (wrong.counts["two_hop_exact"], wrong.sums["one_hop_f1"]) == (0, 0.0)
    assert wrong.metrics["chance_exact_match"] == pytest.approx(1 / 3)


def test_a_distractor_counts_as_a_candidate_and_not_as_an_answer() -> None:
    problems = held_out(two_hop.TWO_HOP, 2)
    given = [next(c for c in problems[0].candidates if c != problems[0].answer), "Nowhere"]
    counts, sums = graded(problems, given)
    assert counts == {"questions": 2, "exact": 0, "candidates": 1}
    assert 0 <= sums["f1"] < 1


def test_answers_do_not_depend_on_the_batch() -> None:
    trained = make_trained(sequence_length=320)
    problems = held_out(two_hop.TWO_HOP, 5)
    assert answers(trained, problems, batch=5) == answers(trained, problems, batch=1)


def test_completions_are_greedy_and_stop() -> None:
    trained = make_scripted(lambda prefix: ord("\n") if prefix[-1] == ord("c") else prefix[-1] + 1)
    assert complete(trained, ["xa", "b"], Sampling(max_tokens=9), has_line) == ["bc\n", "c\n"]
    assert complete(trained, ["a"], Sampling(max_tokens=1), has_line) == ["b"]


def test_long_prompts_lose_their_beginning() -> None:
    seen: list[int] = []
    trained = make_scripted(lambda prefix: seen.append(len(prefix)) or 65)  # type: ignore[func-returns-value]
    complete(trained, ["x" * 100], Sampling(max_tokens=6), has_line)
    assert max(seen) <= trained.length


def test_sampling_follows_temperature_and_seed() -> None:
    trained = make_trained(scale=4.0)
    draws = [
        complete(trained, ["ABC"] * 4, Sampling(temperature=1.0, max_tokens=8, seed=s), has_line)
        for s in (0, 0, 1)
    ]
    assert draws[0] == draws[1] != draws[2]
    assert len(set(draws[0])) > 1


def test_facts_to_recall_are_said_twice() -> None:
    for text in two_hop.texts(two_hop.RECALL, "train", 50):
        first, second = (part.split("\n")[1:7] for part in text.split("Facts:")[1:])
        assert sorted(first) == sorted(second)
        assert len(set(first)) == 2 * two_hop.NUM_CHAINS


def test_either_word_of_a_name_says_which_it_is() -> None:
    for problem in held_out(two_hop.TWO_HOP, 100):
        first, second = zip(*(candidate.split() for candidate in problem.candidates), strict=True)
        assert len(set(first)) == len(set(second)) == two_hop.NUM_CHAINS
