"""All checks of one run, and of several."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from explorer.recording import RunFolder
from explorer.recording.listing import printable, result_or_problem
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
    """The results of all checks of one run."""

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
        return {"run_id": self.run_id, "path": printable(str(self.path)), "status": status, "checks": checks}


def verify_runs(paths: Sequence[Path]) -> Iterator[RunReport]:
    """Check each run folder; a mismatch in one does not stop the others."""
    with fresh_index() as index:
        for path in paths:
            run = result_or_problem(path, partial(_open, path))
            if isinstance(run, str):
                checks = [_failed("documents", path, run, "a readable run folder")]
            else:
                checks = [_guarded(name, check, run) for name, check in CHECKS.items()]
                checks.append(_guarded("figures", partial(check_index, index=index), run))
            yield RunReport(run_id=printable(path.name), path=path, checks=tuple(checks))


def _open(path: Path) -> RunData:
    folder = RunFolder(path)
    return RunData(folder, folder.info, folder.status)


CHECKS: dict[str, Callable[[RunData], Check]] = {
    "documents": check_documents,
    "checksums": check_checksums,
    "keys": check_keys,
    "sums": check_sums,
    "biases": check_biases,
    "results": check_results,
}


def _guarded(name: str, check: Callable[[RunData], Check], run: RunData) -> Check:
    """Unexpected damage ends one check, not the others."""
    path = run.folder.path
    result = result_or_problem(path, partial(check, run))
    return _failed(name, path, result, "rows that can be compared") if isinstance(result, str) else result


def _failed(name: str, path: Path, sentence: str, expected: str) -> Check:
    """The result of a check that failed with an error."""
    findings = Findings(name)
    findings.differ(Difference(table=printable(path.name), recorded=sentence, expected=expected))
    return findings.check()
