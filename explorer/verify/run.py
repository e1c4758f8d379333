"""All checks of one run, and of several."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from polars.exceptions import PolarsError

from explorer.errors import RunFolderError
from explorer.recording import RunFolder
from explorer.verify.biases import check_biases
from explorer.verify.data import RunData
from explorer.verify.figures import check_results
from explorer.verify.findings import MISMATCH, OK, Check, Difference, Findings
from explorer.verify.folder import check_checksums, check_documents
from explorer.verify.index import check_index, fresh_index
from explorer.verify.keys import check_keys
from explorer.verify.sums import check_sums


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """What the checks of one run found."""

    run_id: str
    path: Path
    checks: tuple[Check, ...]

    @property
    def is_clean(self) -> bool:
        """Whether no check found a difference."""
        return not any(check.status == MISMATCH for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        checks = []
        for check in self.checks:
            row = asdict(check)
            if check.first is not None:
                row["first"]["sentence"] = check.first.sentence
            checks.append(row)
        status = OK if self.is_clean else MISMATCH
        return {"run_id": self.run_id, "path": str(self.path), "status": status, "checks": checks}


def verify_runs(paths: Sequence[Path]) -> Iterator[RunReport]:
    """Check each run folder; a mismatch in one keeps nothing else from being checked."""
    with fresh_index() as index:
        for path in paths:
            folder = RunFolder(path)
            try:
                run = RunData(folder, folder.info, folder.status)
            except RunFolderError as error:
                yield RunReport(run_id=path.name, path=path, checks=(_unreadable(path, str(error)),))
                continue
            checks = [_guarded(name, check, run) for name, check in CHECKS.items()]
            checks.append(_guarded("figures", lambda run: check_index(run, index), run))
            yield RunReport(run_id=path.name, path=path, checks=tuple(checks))


CHECKS: dict[str, Callable[[RunData], Check]] = {
    "documents": check_documents,
    "checksums": check_checksums,
    "keys": check_keys,
    "sums": check_sums,
    "biases": check_biases,
    "results": check_results,
}


def _guarded(name: str, check: Callable[[RunData], Check], run: RunData) -> Check:
    """Damage that nobody has thought of ends one check, and not the others."""
    try:
        return check(run)
    except (PolarsError, RunFolderError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        found = Findings(name)
        text = f"{type(error).__name__}: {error}".splitlines()[0]
        found.differ(Difference(table=run.folder.run_id, recorded=text, expected="rows that can be compared"))
        return found.check()


def _unreadable(path: Path, sentence: str) -> Check:
    found = Findings("documents")
    found.differ(Difference(table=path.name, recorded=sentence, expected="a readable run folder"))
    return found.check()
