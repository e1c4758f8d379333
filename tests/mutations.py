"""Break the product on purpose, one place after the other, and see whether a test notices.

    python tests/mutations.py                 all of tests/mutations.toml (a few minutes)
    python tests/mutations.py compare gate    those whose name contains one of these words
    python tests/mutations.py --tree DIR      in another checkout, where the same text stands in one file

Each mutation is applied in a copy of the checkout and runs only tests that import the mutated module or open
its page; first of all these tests run once without any mutation. Exits 1 when a mutation is missed, and 2
when one cannot be tried: its text is no longer there, or its tests do not even start.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PASSED, FAILED = 0, 1
"""Exit codes of pytest; every other one means that the tests were not run."""
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", ".*_cache", ".hypothesis", "__pycache__", "node_modules")


class Unusable(Exception):
    """A mutation that cannot be tried; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """One wrong line: `old` stands exactly once in `file` and becomes `new`."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def apply(self, tree: Path) -> Path:
        """Change the file below `tree`; returns it. Raises Unusable where `old` is not there once."""
        path = tree / self.file
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        if text.count(self.old) != 1:
            raise Unusable(f"{self.file} holds the text {text.count(self.old)} times: {self.old!r}")
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")
        return path


def read(words: Sequence[str]) -> list[Mutation]:
    """The mutations of mutations.toml whose name contains one of the words; all without words."""
    tables = tomllib.loads((HERE / "mutations.toml").read_text(encoding="utf-8"))["mutation"]
    mutations = [Mutation(**{**table, "tests": tuple(table["tests"])}) for table in tables]
    return [m for m in mutations if not words or any(word in m.name for word in words)]


def moved(mutation: Mutation, tree: Path) -> Mutation:
    """The mutation in another checkout: the one file that holds its text, and its tests by their names."""
    files = [p for p in (tree / "explorer").rglob("*.py") if p.read_text("utf-8").count(mutation.old) == 1]
    tests = [p for test in mutation.tests for p in (tree / "tests").rglob(Path(test).name)]
    if len(files) != 1 or not tests:
        raise Unusable(f"{len(files)} files hold its text, {len(tests)} of its tests are there")
    return Mutation(
        name=mutation.name,
        file=str(files[0].relative_to(tree)),
        old=mutation.old,
        new=mutation.new,
        tests=tuple(str(test.relative_to(tree)) for test in tests),
    )


def run_tests(tree: Path, tests: Sequence[str]) -> tuple[int, str]:
    """Exit code of pytest, and the first test that failed (or its last line)."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    last = (done.stdout + done.stderr).strip().rpartition("\n")[2]
    return done.returncode, failed[1] if failed else last


def attempt(mutation: Mutation, tree: Path) -> str:
    """What caught the mutation; "" where nothing did. The tree is as before afterwards."""
    path = tree / mutation.file
    before = path.read_bytes() if path.exists() else b""
    mutation.apply(tree)
    try:
        code, what = run_tests(tree, mutation.tests)
    finally:
        path.write_bytes(before)
    if code not in (PASSED, FAILED):
        raise Unusable(f"pytest ended with {code}: {what}")
    return what if code == FAILED else ""


def try_all(mutations: Sequence[Mutation], tree: Path, is_elsewhere: bool) -> tuple[list[str], list[str]]:
    """Try every mutation and print the outcome; returns the names of missed and of unusable ones."""
    missed, unusable = [], []
    for mutation in mutations:
        try:
            what = attempt(moved(mutation, tree) if is_elsewhere else mutation, tree)
        except Unusable as reason:
            unusable.append(mutation.name)
            print(f"UNUSABLE  {mutation.name}: {reason}", flush=True)
            continue
        if not what:
            missed.append(mutation.name)
        print(f"caught    {mutation.name}: {what}" if what else f"MISSED    {mutation.name}", flush=True)
    return missed, unusable


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="parts of names; without any, all mutations")
    parser.add_argument("--tree", type=Path, help="another checkout; without it, this one")
    options = parser.parse_args()
    source = (options.tree or HERE.parent).resolve()
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(source, tree, ignore=LEFT_OUT)
        mutations = read(options.words)
        if not options.tree:
            code, what = run_tests(tree, sorted({test for m in mutations for test in m.tests}))
            if code != PASSED:
                print(f"Without a mutation the tests do not pass: {what}")
                return 2
        missed, unusable = try_all(mutations, tree, options.tree is not None)
    caught = len(mutations) - len(missed) - len(unusable)
    print(f"{caught} caught, {len(missed)} missed, {len(unusable)} unusable")
    return 1 if missed else 2 if unusable else 0


if __name__ == "__main__":
    sys.exit(main())
