"""Code tasks: what is held out, what is scored, what counts as a match or as parsed."""

import ast
import math
import re
from dataclasses import replace

import pytest
import torch
from sentences import pattern
from task_models import make_scripted, make_trained, reciting
from torch.nn import functional as F

from explorer.corpus import functions as corpus_functions
from explorer.corpus import load_human_eval
from explorer.corpus.domains import sources
from explorer.corpus.functions import END, MIDDLE, PREFIX, SUFFIX, Function, fill_in
from explorer.corpus.units import Unit
from explorer.tasks import code
from explorer.tasks.code import fill_in_lines, held_out_functions, human_eval, library, parses, whole_body

SOURCE = '''
class Thing:
    @property
    def size(self):
        """How large the thing is, in the units of whoever measured it."""
        if self.known:
            return self.value
        # a remark that is no line to complete
        return self.measure(again=True)

    def text(self): return "one line that leaves nothing to complete, although it is long enough to count"

    def banner(self):
        return self.lines and """
left of the indentation, and long enough that only this keeps it from being taken as a function"""

def only_words(argument, another_argument, and_yet_another_argument_of_this_function):
    """A docstring and nothing else, which is long enough to count."""
'''


def test_functions_are_cut_at_their_body() -> None:
    (one,) = corpus_functions.functions([Unit(name="thing.py", text=SOURCE)])
    assert one.name == "thing.py:3"
    assert one.head.startswith('@property\ndef size(self):\n    """How large')
    assert one.body.startswith("    if self.known:\n")
    assert one.body.endswith("    return self.measure(again=True)\n")
    ast.parse(one.text)


def test_every_function_of_the_frozen_library_parses_and_is_in_one_split() -> None:
    python = next(source for source in sources("mix") if source.name == "python").read()
    train, held_out = (list(corpus_functions.functions(units)) for units in (python.train, python.held_out))
    assert (len(train) > 1000, len(held_out) >= 100) == (True, True)
    for one in held_out:
        node = ast.parse(one.text).body[0]
        assert isinstance(node, ast.FunctionDef)
        assert node.end_lineno == one.text.count("\n")
    files = [{one.name.split(":")[0] for one in split} for split in (train, held_out)]
    assert not files[0] & files[1]


@pytest.mark.parametrize("name", ["code", "mix", "austen"])
def test_held_out_functions_are_not_in_the_training_text(name: str) -> None:
    trained = make_trained()
    functions = held_out_functions(replace(trained, corpus=replace(trained.corpus, name=name)), 40)
    assert len(functions) == len({one.text for one in functions}) == 40
    text = "".join(
        unit.text for source in sources("mix") if source.name == "python" for unit in source.read().train
    )
    assert not any(one.text in text for one in functions)


def test_fill_in_examples_hold_the_line_and_the_text_beside_it() -> None:
    (one,) = corpus_functions.functions([Unit(name="thing.py", text=SOURCE)])
    example = fill_in(one)
    assert example.line in ("if self.known:", "return self.value", "return self.measure(again=True)")
    assert example.before + example.line + example.after in one.text
    assert example.text == f"{PREFIX}{example.before}{SUFFIX}{example.after}{MIDDLE}{example.line}{END}\n"


def test_the_markers_occur_in_no_source_file() -> None:
    python = next(source for source in sources("mix") if source.name == "python").read()
    text = "".join(unit.text for unit in (*python.train, *python.held_out))
    assert not {PREFIX, SUFFIX, MIDDLE, END} & set(text)


def test_fill_in_domains_keep_the_split_of_the_files() -> None:
    python, examples, _ = (source.read() for source in sources("code"))
    for split in ("train", "held_out"):
        files = {unit.name for unit in getattr(python, split)}
        assert {unit.name.rpartition(":")[0] for unit in getattr(examples, split)} <= files


def test_human_eval_is_scored_by_bytes_of_the_solution() -> None:
    """Slow reference: every byte of the solution from a pass of its own, with the windows of `scoring`."""
    trained = make_trained(sequence_length=1200, scale=8.0)
    result = human_eval(trained, 2)
    nats, size = 0.0, 0
    for problem in load_human_eval()[:2]:
        ids = torch.tensor(list((problem.prompt + problem.canonical_solution).encode()))
        first = len(problem.prompt.encode())
        logits = trained.forward(ids[None, :-1]).logits_BSV[0]
        nats += float(F.cross_entropy(logits[first - 1 :], ids[first:], reduction="sum"))
        size += len(ids) - first
    assert result.counts["bytes"] == result.counts["tokens"] == size
    assert result.metrics["bits_per_byte"] == pytest.approx(nats / math.log(2) / size, rel=1e-3)


FUNCTIONS = [
    Function(name="a.py:1", head="def first(xs):\n", body="    ys = list(xs)\n    return ys[0]\n"),
    Function(
        name="b.py:1",
        head='def second(x):\n    """Twice."""\n',
        body="    if x:\n        return x * 2\n    return 0\n",
    ),
]


@pytest.fixture
def two_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "held_out_functions", lambda *_: FUNCTIONS)


@pytest.mark.usefixtures("two_functions")
def test_a_model_that_knows_the_library_is_right_everywhere() -> None:
    result = library(reciting([one.text + "\n\n\n" for one in FUNCTIONS], length=300))
    assert (
        result.metrics["next_token_accuracy"]
        == result.metrics["line_match"]
        == result.metrics["parse_rate"]
        == 1.0
    )
    assert result.metrics["bits_per_byte"] == pytest.approx(0, abs=1e-3)
    assert result.counts["tokens"] == result.counts["bytes"] == sum(len(one.body) for one in FUNCTIONS)


@pytest.mark.usefixtures("two_functions")
def test_a_model_that_writes_nonsense_matches_and_parses_nothing() -> None:
    result = library(
        make_scripted(lambda prefix: ord("?") if prefix[-1] == ord("\n") else ord("\n"), length=300)
    )
    assert (result.counts["line_matches"], result.counts["parsed"]) == (0, 0)
    assert result.counts["correct"] < result.counts["tokens"]


@pytest.mark.usefixtures("two_functions")
def test_fill_in_matches_the_line_alone() -> None:
    trained = reciting([fill_in(one).text for one in FUNCTIONS], length=300)
    taught = replace(trained.corpus, name="code")
    object.__setattr__(trained, "corpus", taught)
    assert fill_in_lines(trained).counts == {"lines": 2, "line_matches": 2}
    wrong = make_scripted(lambda _: ord("x"), length=300, corpus=taught)
    assert fill_in_lines(wrong).counts == {"lines": 2, "line_matches": 0}


def test_fill_in_is_not_run_for_models_that_never_saw_it() -> None:
    result = fill_in_lines(make_trained(), 2)
    assert result.status == "not run"
    assert result.metrics == {}
    assert re.search(pattern("tasks.train_on_code"), result.reason)


@pytest.mark.parametrize(
    ("text", "body"),
    [
        ("    a = 1\n    return a\n\ndef", "    a = 1\n    return a\n\n"),
        ("    a = 1\n    retu", "    a = 1\n"),
        ("x = 1\n", ""),
        ("    a\nb\n    c\n", "    a\n"),
    ],
)
def test_a_body_ends_where_indentation_does(text: str, body: str) -> None:
    assert whole_body(text) == body


@pytest.mark.parametrize(
    ("completion", "verdict"),
    [
        ("    return 1\n", True),
        ("    return (\n", False),
        ("    return 1", False),
        ("\n", False),
        ("    # words\n", False),
        ("    return 1\nx = (\n", True),
    ],
)
def test_what_parses(completion: str, verdict: bool) -> None:
    assert parses('def f(x):\n    """Words."""\n', completion) is verdict
