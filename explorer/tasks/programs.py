"""Completions that are executed, in the sandbox: pass@k. Where nothing can be confined, nothing is run."""

import math
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from functools import partial

from explorer.corpus import HumanEvalProblem, load_human_eval, programs
from explorer.corpus.programs import FUNCTION, Program
from explorer.tasks import sandbox
from explorer.tasks.code import is_body_over, whole_body
from explorer.tasks.generation import Sampling, complete
from explorer.tasks.result import TaskResult, not_run, ratio
from explorer.tasks.sandbox import FINISHED
from explorer.tasks.trained import TrainedModel, check_causal

SAMPLES = 10
"""Completions per problem, n of the estimator."""
TEMPERATURE = 0.8
BODY_TOKENS, HUMAN_EVAL_TOKENS = 64, 128
KS = (1, 5, 10)


def pass_at_k(samples: int, passed: int, k: int) -> float:
    """Unbiased estimate of the chance that one of k completions passes, from n samples of which c passed.

    1 - C(n - c, k) / C(n, k), exactly (Chen et al., arXiv 2107.03374, equation 1). Needs k <= n.

    >>> pass_at_k(4, 1, 2)
    0.5
    """
    if not 0 <= passed <= samples or not 1 <= k <= samples:
        raise ValueError(f"pass@{k} is not defined for {passed} of {samples} samples")
    return float(1 - Fraction(math.comb(samples - passed, k), math.comb(samples, k)))


def generated_programs(trained: TrainedModel, count: int = 50, samples: int = SAMPLES) -> TaskResult:
    """Held-out generated programs (`explorer.corpus.programs`): pass@k by execution on five inputs each.

    A completion passes if its results are right; it need not be the text of the corpus, which
    `solution_match` counts.
    """
    check_causal(trained, "programs")
    if trained.corpus.name != "code":
        return not_run(
            "programs",
            f"The model was trained on corpus {trained.corpus.name}, which has no programs; train with "
            "corpus.name=code.",
        )
    if reason := sandbox.unavailable():
        return not_run("programs", reason)
    problems = list(programs.programs("held_out", count))
    bodies = sampled(trained, [problem.prompt for problem in problems], samples, BODY_TOKENS)
    passed = [
        sum(_verdicts(each, partial(passes, problem))) for problem, each in zip(problems, bodies, strict=True)
    ]
    same = sum(
        body.rstrip() == problem.solution.rstrip()
        for problem, each in zip(problems, bodies, strict=True)
        for body in each
    )
    return TaskResult(
        task="programs",
        counts={
            "problems": len(problems),
            "samples": samples * len(problems),
            "passed": sum(passed),
            "solution_matches": same,
        },
        metrics={**_pass_metrics(passed, samples), "solution_match": ratio(same, samples * len(problems))},
    )


def human_eval_pass(trained: TrainedModel, count: int = 164) -> TaskResult:
    """pass@1 on HumanEval itself: one greedy completion per problem, run with the problem's own tests."""
    check_causal(trained, "human_eval_pass")
    if reason := sandbox.unavailable():
        return not_run("human_eval_pass", reason)
    problems = load_human_eval()[:count]
    texts = complete(
        trained,
        [problem.prompt for problem in problems],
        Sampling(max_tokens=HUMAN_EVAL_TOKENS),
        is_body_over,
    )
    passed = 0
    for problem, text in zip(problems, texts, strict=True):
        passed += solves(problem, whole_body(text))
    return TaskResult(
        task="human_eval_pass",
        counts={"problems": len(problems), "passed": passed},
        metrics={"pass@1": ratio(passed, len(problems))},
    )


def solves(problem: HumanEvalProblem, body: str) -> bool:
    """Whether the completed function passes the problem's own tests. Runs it in the sandbox.

    The tests run beside the completion, which could tamper with them; a model of this size does not.
    """
    call = f"def passes():\n    check({problem.entry_point})\n"
    code = f"{problem.prompt}{body}\n{problem.test}\n{call}"
    if not body.strip() or not _compiles(code):
        return False
    return sandbox.run_code(code, function="passes", arguments=[[]]).status == FINISHED


def sampled(trained: TrainedModel, prompts: Sequence[str], samples: int, tokens: int) -> list[list[str]]:
    """`samples` completed bodies per prompt, drawn at the same temperature."""
    repeated = [prompt for prompt in prompts for _ in range(samples)]
    texts = complete(trained, repeated, Sampling(temperature=TEMPERATURE, max_tokens=tokens), is_program_over)
    bodies = [whole_body(text) for text in texts]
    return [bodies[first : first + samples] for first in range(0, len(bodies), samples)]


def is_program_over(text: str) -> bool:
    """A `Stop`: an empty line, which ends every program of the corpus, or a line that is not indented."""
    return "\n\n" in text or is_body_over(text)


def passes(problem: Program, body: str) -> bool:
    """Whether the completed function gives the right results. Runs it in the sandbox."""
    code, inputs = problem.prompt + body, problem.inputs()
    if not body.strip() or not _compiles(code):
        return False
    outcome = sandbox.run_code(code, function=FUNCTION, arguments=[[xs] for xs in inputs])
    return outcome.status == FINISHED and outcome.values == tuple(repr(problem.result(xs)) for xs in inputs)


def _verdicts(bodies: Iterable[str], check: Callable[[str], bool]) -> list[bool]:
    """One verdict per body; equal bodies are run once."""
    verdict_of: dict[str, bool] = {}
    verdicts = []
    for body in bodies:
        text = body.rstrip()
        if text not in verdict_of:
            verdict_of[text] = check(body)
        verdicts.append(verdict_of[text])
    return verdicts


def _compiles(code: str) -> bool:
    """Saves a process for what is not Python; compiling executes nothing."""
    try:
        compile(code, "<completion>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _pass_metrics(passed: Sequence[int], samples: int) -> dict[str, float | None]:
    """Mean over problems of pass@k, for every k that the samples allow."""
    return {
        f"pass@{k}": ratio(sum(pass_at_k(samples, one, k) for one in passed), len(passed))
        for k in KS
        if k <= samples
    }
