"""Generated programs and their verdicts by execution; pass@k against every subset of samples."""

import hashlib
import itertools
import re
from dataclasses import replace

import pytest
from sentences import pattern
from task_models import make_scripted, make_trained

from explorer.corpus import load_human_eval
from explorer.corpus import programs as corpus_programs
from explorer.corpus.programs import STEPS, Program
from explorer.tasks import programs, sandbox
from explorer.tasks.programs import generated_programs, human_eval_pass, pass_at_k, passes
from explorer.tasks.trained import TrainedModel

confined = pytest.mark.skipif(sandbox.unavailable() != "", reason=sandbox.unavailable())
HELD_OUT = list(corpus_programs.programs("held_out", 60))


@pytest.mark.parametrize("samples", [1, 4, 6])
def test_pass_at_k_is_the_share_of_subsets_with_a_pass(samples: int) -> None:
    for passed in range(samples + 1):
        for k in range(1, samples + 1):
            subsets = list(itertools.combinations([i < passed for i in range(samples)], k))
            assert pass_at_k(samples, passed, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


@pytest.mark.parametrize(("samples", "passed", "k"), [(3, 4, 1), (3, -1, 1), (3, 1, 4), (3, 1, 0)])
def test_pass_at_k_refuses_what_it_is_not_defined_for(samples: int, passed: int, k: int) -> None:
    with pytest.raises(ValueError, match="is not defined"):
        pass_at_k(samples, passed, k)


def test_no_held_out_program_is_a_training_program() -> None:
    train = {one.prompt for one in corpus_programs.programs("train", 4000)}
    assert not train & {one.prompt for one in HELD_OUT}


def test_results_are_those_of_the_printed_solution() -> None:
    """The corpus's own text, run here: it is ours, not a model's."""
    for one in HELD_OUT:
        names: dict[str, object] = {}
        exec(one.text, names)
        for xs in one.inputs():
            assert names["solve"](xs) == one.result(xs)  # type: ignore[operator]


def test_inputs_tell_every_start_and_step_apart() -> None:
    for one in HELD_OUT[:20]:
        results = [one.result(xs) for xs in one.inputs()]
        for start in set(range(6)) - {one.start}:
            assert [replace(one, start=start).result(xs) for xs in one.inputs()] != results
        (first, a), second = one.steps
        for step in set(range(len(STEPS))) - {first}:
            other = replace(one, steps=((step, a), second))
            # x + 2 and 2 x agree at some x, never at all five lists.
            assert [other.result(xs) for xs in one.inputs()] != results


def test_the_text_of_the_corpus_is_pinned() -> None:
    text = "".join(
        one.text for split in ("train", "held_out") for one in corpus_programs.programs(split, 100)
    )
    assert (corpus_programs.VERSION, hashlib.sha256(text.encode()).hexdigest()[:16]) == (
        1,
        "8bea89d95d027013",
    )


ONE = Program(start=0, steps=((0, 3), (2, 4)))


@confined
@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        (ONE.solution, True),
        ("    return 4 * (3 + sum(xs))\n", True),
        ("    return 4 * (4 + sum(xs))\n", False),
        ("    return (\n", False),
        ("    while True: pass\n", False),
        ("    import os; os._exit(0)\n", False),
        ("", False),
    ],
    ids=["solution", "other_text", "wrong", "syntax", "loop", "exit", "empty"],
)
def test_a_body_passes_by_its_results(body: str, verdict: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "Limits", lambda: sandbox_limits)
    assert passes(ONE, body) is verdict


sandbox_limits = sandbox.Limits(cpu_seconds=1, seconds=5)


def taught(trained: TrainedModel) -> TrainedModel:
    object.__setattr__(trained, "corpus", replace(trained.corpus, name="code"))
    return trained


@confined
def test_a_model_that_writes_solutions_passes() -> None:
    known = [one.text.encode() for one in corpus_programs.programs("held_out", 2)]

    def rule(prefix: list[int]) -> int:
        given = bytes(prefix)
        return next(
            (text[len(given)] for text in known if text.startswith(given) and text != given), ord("\n")
        )

    result = generated_programs(taught(make_scripted(rule, length=300)), 2, samples=2)  # type: ignore[arg-type]
    assert (result.counts["samples"], result.counts["passed"], result.counts["solution_matches"]) == (4, 4, 4)
    assert result.metrics["pass@1"] == 1.0
    assert "pass@5" not in result.metrics


@confined
def test_a_model_that_writes_nonsense_fails_without_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox.unavailable()
    monkeypatch.setattr(sandbox, "run_code", lambda *_, **__: pytest.fail("nonsense was run"))
    result = generated_programs(taught(make_scripted(lambda _: ord("?"), length=300)), 2, samples=2)
    assert result.counts["passed"] == 0
    assert human_eval_pass(make_scripted(lambda _: ord("?"), length=300), 2).counts == {
        "problems": 2,
        "passed": 0,
    }


@confined
def test_human_eval_is_judged_by_its_own_tests() -> None:
    """Canonical solutions pass, and the same ones spoilt do not."""
    for problem in load_human_eval()[:3]:
        assert programs.solves(problem, problem.canonical_solution)
        assert not programs.solves(problem, "    return None\n")


def test_equal_bodies_are_run_once() -> None:
    seen: list[str] = []
    verdicts = programs._verdicts(["a\n", "b\n", "a\n\n"], lambda body: seen.append(body) is None)
    assert verdicts == [True] * 3
    assert seen == ["a\n", "b\n"]


@pytest.mark.parametrize("task", [generated_programs, human_eval_pass])
def test_without_a_sandbox_the_metric_is_not_run(task: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "unavailable", lambda: "No sandbox here.")
    monkeypatch.setattr(sandbox, "run_code", lambda *_, **__: pytest.fail("code was run"))
    result = task(taught(make_trained()), 2)  # type: ignore[operator]
    assert (result.status, result.reason, dict(result.metrics)) == ("not run", "No sandbox here.", {})


def test_models_that_never_saw_programs_are_not_asked() -> None:
    result = generated_programs(make_trained(), 2)
    assert result.status == "not run"
    assert re.search(pattern("tasks.train_on_code"), result.reason)
