"""All checks of one run, and of several."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

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
            checks = (
                check_documents(run),
                check_checksums(run),
                check_keys(run),
                check_sums(run),
                check_biases(run),
                check_results(run),
                check_index(run, index),
            )
            yield RunReport(run_id=path.name, path=path, checks=checks)


def _unreadable(path: Path, sentence: str) -> Check:
    found = Findings("documents")
    found.differ(Difference(table=path.name, recorded=sentence, expected="a readable run folder"))
    return found.check()
