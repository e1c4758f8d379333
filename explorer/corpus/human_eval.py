"""HumanEval (Chen et al. 2021, arXiv 2107.03374): 164 hand-written programming problems.

A model of this project's size solves none of them. They are used to compare expert loads on prompt
and solution, and for bits per byte of the canonical solution. Nothing here executes code.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from explorer.corpus.files import DATA_FOLDER, read_content

FILE = "HumanEval.jsonl.gz"


@dataclass(frozen=True, kw_only=True)
class HumanEvalProblem:
    """One problem, as published."""

    task_id: str
    """`HumanEval/0` to `HumanEval/163`."""
    prompt: str
    """Imports, signature and docstring."""
    entry_point: str
    """Name of the function."""
    canonical_solution: str
    """Body that follows the prompt."""
    test: str
    """Source of a function `check(candidate)`."""


def load_human_eval(data_folder: Path = DATA_FOLDER) -> tuple[HumanEvalProblem, ...]:
    """All 164 problems in order; CorpusError if the committed file is missing or damaged."""
    lines = read_content(FILE, data_folder).decode("utf-8").splitlines()
    return tuple(HumanEvalProblem(**json.loads(line)) for line in lines if line.strip())
