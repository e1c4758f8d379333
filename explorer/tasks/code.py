"""How well a model predicts and completes Python code that it was not trained on. Nothing here runs code."""

import ast
import math
from collections.abc import Sequence

from explorer.corpus import load_human_eval
from explorer.corpus.domains import sources
from explorer.corpus.functions import END, Function, body_line, fill_in, functions
from explorer.tasks.generation import Sampling, complete, first_line, has_line
from explorer.tasks.result import TaskResult, not_run, ratio
from explorer.tasks.scoring import Passage, Score, score
from explorer.tasks.trained import TrainedModel, check_causal

LINE_TOKENS, BODY_TOKENS = 40, 64
"""Most tokens of a completed line, and of a completed body."""


def human_eval(trained: TrainedModel, count: int = 164) -> TaskResult:
    """HumanEval (arXiv 2107.03374): bits per byte of the canonical solution, given the prompt.

    Long prompts are seen through windows (`scoring.score`). `programs.human_eval_pass` executes completions.
    """
    check_causal(trained, "human_eval")
    problems = load_human_eval()[:count]
    total, num_bytes = scored(trained, [(problem.prompt, problem.canonical_solution) for problem in problems])
    return TaskResult(
        task="human_eval",
        counts={
            "problems": len(problems),
            "tokens": total.tokens,
            "bytes": num_bytes,
            "correct": total.correct,
        },
        sums={"nats": total.nats},
        metrics={
            "bits_per_byte": ratio(total.nats / math.log(2), num_bytes),
            "next_token_accuracy": ratio(total.correct, total.tokens),
        },
    )


def scored(trained: TrainedModel, pairs: Sequence[tuple[str, str]]) -> tuple[Score, int]:
    """Score of the second text of each pair after the first, and its bytes."""
    passages = []
    for context, text in pairs:
        before, after = (ids.tolist() for ids in trained.tokenizer.encode_many([context, text]))
        passages.append(Passage(ids=before + after, first=len(before)))
    return Score.total(score(trained, passages)), sum(len(text.encode("utf-8")) for _, text in pairs)


def held_out_functions(trained: TrainedModel, count: int | None = None) -> list[Function]:
    """Standard-library functions from files that the model was not trained on.

    The held-out files of its own Python domain; where it has none, those of the mix. Functions that also
    occur in a training file are left out. Spread over the files.
    """
    name = "python" if trained.corpus.name == "python" else "mix"
    (domain,) = (source.read() for source in sources(name) if source.name == "python")
    seen = {function.text for function in functions(domain.train)}
    unique = {one.text: one for one in functions(domain.held_out) if one.text not in seen}
    distinct = list(unique.values())
    if count is None or count >= len(distinct):
        return distinct
    return [distinct[place * len(distinct) // count] for place in range(count)]


def library(trained: TrainedModel, count: int = 100) -> TaskResult:
    """Held-out standard-library functions: next tokens, one line, and a body that parses.

    next_token_accuracy   of the body's tokens, each after the function so far
    line_match            one line of each body, greedily completed from everything before it, equal but for
                          spaces at its ends
    parse_rate            bodies completed from signature and docstring, cut at the last whole line: the
                          function parses and the body says something
    """
    check_causal(trained, "library")
    held_out = held_out_functions(trained, count)
    total, num_bytes = scored(trained, [(one.head, one.body) for one in held_out])
    targets = [body_line(one) for one in held_out]
    lines = complete(
        trained, [before for before, _, _ in targets], Sampling(max_tokens=LINE_TOKENS), has_text_line
    )
    matches = sum(_only_line(text) == line.strip() for text, (_, line, _) in zip(lines, targets, strict=True))
    bodies = complete(trained, [one.head for one in held_out], Sampling(max_tokens=BODY_TOKENS), is_body_over)
    parsed = sum(parses(one.head, body) for one, body in zip(held_out, bodies, strict=True))
    return TaskResult(
        task="library",
        counts={
            "functions": len(held_out),
            "tokens": total.tokens,
            "bytes": num_bytes,
            "correct": total.correct,
            "line_matches": matches,
            "parsed": parsed,
        },
        sums={"nats": total.nats},
        metrics={
            "bits_per_byte": ratio(total.nats / math.log(2), num_bytes),
            "next_token_accuracy": ratio(total.correct, total.tokens),
            "line_match": ratio(matches, len(held_out)),
            "parse_rate": ratio(parsed, len(held_out)),
        },
    )


def fill_in_lines(trained: TrainedModel, count: int = 100) -> TaskResult:
    """Fill-in-the-middle on held-out functions: the missing line, greedily completed, equal to the original.

    Only for models that saw the format: others would score zero for want of it.
    """
    check_causal(trained, "fill_in")
    if trained.corpus.name != "code":
        return not_run(
            "fill_in",
            f"The model was trained on corpus {trained.corpus.name}, which has no fill-in examples; train "
            "with corpus.name=code.",
        )
    examples = [fill_in(one) for one in held_out_functions(trained, count)]
    completions = complete(
        trained, [one.prompt for one in examples], Sampling(max_tokens=LINE_TOKENS), lambda text: END in text
    )
    matches = sum(
        text.split(END)[0].strip() == one.line
        for text, one in zip(completions, examples, strict=True)
        if END in text
    )
    return TaskResult(
        task="fill_in",
        counts={"lines": len(examples), "line_matches": matches},
        metrics={"line_match": ratio(matches, len(examples))},
    )


def has_text_line(text: str) -> bool:
    """A `Stop`: a line that is not empty is complete."""
    return has_line(text.lstrip())


def _only_line(text: str) -> str:
    return first_line(text.lstrip()).strip()


def is_body_over(text: str) -> bool:
    """A `Stop`: a line that is not indented, or a second empty line, has begun."""
    lines = text.split("\n")
    return any(line and not line[0].isspace() for line in lines[1:]) or text.endswith("\n\n\n")


def whole_body(text: str) -> str:
    """The completed lines of a body: up to the first line that is not indented, without an unfinished one."""
    lines: list[str] = []
    for line in text.split("\n")[:-1]:
        if line and not line[0].isspace():
            break
        lines.append(line + "\n")
    return "".join(lines)


def parses(head: str, completion: str) -> bool:
    """Whether signature and completed body parse, and the body has a statement beside the docstring."""
    try:
        function = ast.parse(head + whole_body(completion)).body[0]
    except (SyntaxError, ValueError, IndexError, RecursionError, MemoryError):
        return False
    if not isinstance(function, ast.FunctionDef):
        return False
    return len(function.body) > (ast.get_docstring(function) is not None)
