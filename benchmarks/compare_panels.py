"""Whether two checkouts show the same numbers: the tables of all panels at several URLs, cell by cell.

`python -m benchmarks.compare_panels BEFORE AFTER` exports the shipped runs of each checkout through its own
command line and lists the differences; exit code 1 if there are any. About 2 minutes per checkout.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

NONE, FREE = "standard-none-seed0", "standard-loss_free-seed0"
ADDRESSES: dict[str, Sequence[str]] = {
    "overview": ["--view", "overview"],
    "gallery": ["--view", "gallery"],
    "evidence": ["--view", "evidence"],
    "lesson-1": ["--view", "lessons", "--set", "lesson=why-experts-collapse", "--set", "part=1"],
    "lesson-4": ["--view", "lessons", "--set", "lesson=the-bias-rule-step-by-step", "--set", "part=2"],
    "lesson-8": ["--view", "lessons", "--set", "lesson=what-the-gain-really-is", "--set", "part=1"],
    "theory": ["--view", "theory"],
    "playground": ["--view", "playground"],
    "compare": ["--view", "compare"],
    "compare-two-runs": [NONE, FREE, "--view", "compare"],
    "compare-by-tokens": [NONE, FREE, "--view", "compare", "--set", "x=tokens", "--set", "layer=2"],
    "replay": [FREE, "--view", "replay"],
    "replay-layer-1": [NONE, "--view", "replay", "--set", "layer=1", "--set", "step=100"],
    "microscope": [FREE, "--view", "microscope"],
    "serving": [NONE, "--view", "serving"],
    "serving-held-out": [FREE, "--view", "serving", "--set", "judge=held-out python"],
    "microscope-layer-3": [NONE, "--view", "microscope", "--set", "layer=3"],
}
"""Name -> arguments of `python -m explorer export`."""
RELATIVE = 1e-9
"""Numbers this close count as equal: DuckDB sums in any order, so last digits vary between executions."""


@dataclass
class Difference:
    """Differences between two tables of one panel."""

    panel: str
    parts: list[str] = field(default_factory=list)


def export(checkout: Path, address: str, out: Path) -> str:
    """Write one CSV per panel to `out`; returns the command's error output if it failed."""
    private = {name: str(out.parent / name.lower()) for name in ("EXPLORER_INDEX", "EXPLORER_RUNS")}
    command = [sys.executable, "-m", "explorer", "export", *ADDRESSES[address]]
    done = subprocess.run(
        [*command, "--format", "csv", "--out", str(out)],
        cwd=checkout,
        env=os.environ | private,
        capture_output=True,
        text=True,
    )
    return "" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def export_all(checkout: Path, addresses: Sequence[str], out: Path) -> Iterator[str]:
    """Export one URL after another, since they share an index; yields one sentence per failure."""
    out.mkdir()
    for address in addresses:
        problem = export(checkout, address, out / address)
        if problem:
            yield f"{address}: {problem}"


def compared(before: Path, after: Path, panel: str) -> Difference:
    """Two tables of a panel, columns by name and rows in their order."""
    one, other = (pl.read_csv(path, infer_schema_length=None) for path in (before, after))
    result = Difference(panel)
    for label, names in (("gone", one.columns), ("new", other.columns)):
        rest = [name for name in names if name not in one.columns or name not in other.columns]
        if rest:
            result.parts.append(f"{label} columns {', '.join(rest)}")
    if one.height != other.height:
        result.parts.append(f"{one.height} rows became {other.height}")
        return result
    shared = [name for name in one.columns if name in other.columns]
    result.parts += [part for name in shared if (part := column_difference(one[name], other[name]))]
    return result


def column_difference(one: pl.Series, other: pl.Series) -> str:
    """Describe how two columns differ; empty if they are equal."""
    if one.dtype.is_numeric() and other.dtype.is_numeric():
        a, b = one.cast(pl.Float64), other.cast(pl.Float64)
        unequal = ~(((a - b).abs() <= RELATIVE * a.abs().clip(1e-12)) | a.eq_missing(b))
    else:
        a, b = one.cast(pl.String), other.cast(pl.String)
        unequal = a.ne_missing(b)
    unequal = unequal.fill_null(True)
    if not unequal.any():
        return ""
    first = int(unequal.arg_true()[0])
    return f"{one.name} in {unequal.sum()} of {len(one)} rows (first: {a[first]!r} became {b[first]!r})"


def differences(before: Path, after: Path) -> Iterator[Difference]:
    """All panels that differ between two folders of `export_all`."""
    names = [{str(file.relative_to(folder)) for file in folder.rglob("*.csv")} for folder in (before, after)]
    for name in sorted(names[0] | names[1]):
        panel = name.removesuffix(".csv")
        if name not in names[1]:
            yield Difference(panel, ["is gone"])
        elif name not in names[0]:
            yield Difference(panel, ["is new"])
        else:
            found = compared(before / name, after / name, panel)
            if found.parts:
                yield found


def main() -> int:
    """Print the differences; 1 if there are any."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path, help="a checkout, e.g. a git worktree")
    parser.add_argument("after", type=Path)
    parser.add_argument("--only", nargs="+", choices=ADDRESSES, default=list(ADDRESSES))
    parser.add_argument("--keep", type=Path, help="folder for the tables; a temporary one if left out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        out = options.keep or Path(temporary)
        out.mkdir(parents=True, exist_ok=True)
        folders = [out / "before", out / "after"]
        with ThreadPoolExecutor(2) as threads:
            runs = zip((options.before, options.after), folders, strict=True)
            problems = list(
                threads.map(lambda run: list(export_all(run[0].resolve(), options.only, run[1])), runs)
            )
        for label, sentences in zip(("before", "after"), problems, strict=True):
            for sentence in sentences:
                print(f"{label}: {sentence}")
        found = list(differences(*folders))
        for difference in found:
            print(f"{difference.panel}: {'; '.join(difference.parts)}")
        count = sum(1 for _ in folders[1].rglob("*.csv"))
        print(f"{count} panels in the second checkout, {len(found)} differ, including added and removed ones")
    return 1 if found or any(problems) else 0


if __name__ == "__main__":
    sys.exit(main())
