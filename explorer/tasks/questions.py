"""Generated two-hop questions: exact match and F1 of a model's greedy answers."""

from collections.abc import Sequence

from explorer.corpus import two_hop
from explorer.corpus.two_hop import TwoHopProblem
from explorer.tasks.answers import f1, is_exact
from explorer.tasks.generation import RerouteWindow, Sampling, complete, first_line, has_line
from explorer.tasks.result import TaskResult, ratio
from explorer.tasks.trained import TrainedModel, check_causal

ANSWER_TOKENS = 24
"""Most tokens of an answer: two words, spelt in bytes by the smallest tokenizer."""
QUESTIONS = 200
KINDS = (two_hop.ONE_HOP, two_hop.TWO_HOP)
BATCH = 32


def questions(trained: TrainedModel, count: int = QUESTIONS) -> TaskResult:
    """Held-out questions of both kinds; one-hop ones show what copying a name alone reaches.

    Chance, for a model that names any country of the paragraphs: 1 / NUM_CHAINS.
    """
    check_causal(trained, "two_hop")
    counts: dict[str, int] = {}
    sums: dict[str, float] = {}
    for kind in KINDS:
        problems = list(two_hop.problems(kind, "held_out", count))
        part_counts, part_sums = graded(problems, answers(trained, problems))
        counts |= {f"{kind}_{name}": value for name, value in part_counts.items()}
        sums |= {f"{kind}_{name}": value for name, value in part_sums.items()}
    metrics: dict[str, float | None] = {"chance_exact_match": 1 / two_hop.NUM_CHAINS}
    for kind in KINDS:
        number = counts[f"{kind}_questions"]
        metrics[f"{kind}_exact_match"] = ratio(counts[f"{kind}_exact"], number)
        metrics[f"{kind}_f1"] = ratio(sums[f"{kind}_f1"], number)
        metrics[f"{kind}_names_a_candidate"] = ratio(counts[f"{kind}_candidates"], number)
    return TaskResult(task="two_hop", counts=counts, sums=sums, metrics=metrics)


def answers(
    trained: TrainedModel,
    problems: Sequence[TwoHopProblem],
    *,
    batch: int = BATCH,
    reroute: RerouteWindow | None = None,
) -> list[str]:
    """Greedy answers, one line each; `batch` questions are decoded together."""
    prompts = [problem.prompt for problem in problems]
    texts = complete(
        trained, prompts, Sampling(max_tokens=ANSWER_TOKENS), has_line, batch=batch, reroute=reroute
    )
    return [first_line(text).strip() for text in texts]


def graded(
    problems: Sequence[TwoHopProblem], texts: Sequence[str]
) -> tuple[dict[str, int], dict[str, float]]:
    """Counts (questions, exact, candidates) and sums (f1) of answers.

    candidates: answers that are the answer or one of its distractors.
    """
    pairs = list(zip(problems, texts, strict=True))
    counts = {
        "questions": len(pairs),
        "exact": sum(is_exact(answer, problem.answer) for problem, answer in pairs),
        "candidates": sum(any(is_exact(answer, c) for c in problem.candidates) for problem, answer in pairs),
    }
    return counts, {"f1": sum(f1(answer, problem.answer) for problem, answer in pairs)}
