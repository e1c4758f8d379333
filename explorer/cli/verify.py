"""`verify`: check recorded runs against their raw rows."""

import argparse
import json
from collections.abc import Sequence

from explorer.cli.listing import NO_RUNS
from explorer.cli.run_paths import run_paths
from explorer.recording.files import plain
from explorer.verify import Check, RunReport, verify_runs
from explorer.verify.findings import MISMATCH, NOT_RECOMPUTABLE
from explorer.wording import counted


def verify_command(options: argparse.Namespace) -> int:
    """Check runs and print the results. Exit code 0 if nothing differs, 1 otherwise."""
    paths = run_paths(options.run, options.runs)
    reports: list[RunReport] = []
    for report in verify_runs(paths):
        reports.append(report)
        if not options.json:
            print("\n".join(lines(report)), flush=True)
    if options.json:
        print(json.dumps(plain([report.to_dict() for report in reports]), indent=1, allow_nan=False))
    else:
        print(summary(reports))
    return 0 if all(report.is_clean for report in reports) else 1


def lines(report: RunReport) -> list[str]:
    """One line per run, and one per check that found a difference or skipped something."""
    result = [f"{report.run_id:<64} {'ok' if report.is_clean else 'MISMATCH'}"]
    for check in report.checks:
        if check.status == MISMATCH:
            result.append(f"    {check.name}: {_difference(check)}")
        if check.reason and check.status in (MISMATCH, NOT_RECOMPUTABLE):
            result.append(f"    {check.name}: {check.reason}")
    return result


def _difference(check: Check) -> str:
    assert check.first is not None
    more = f"; {check.mismatches - 1:,} more" if check.mismatches > 1 else ""
    return check.first.sentence + more


def summary(reports: Sequence[RunReport]) -> str:
    """Summary of the comparisons over all runs."""
    if not reports:
        return NO_RUNS
    differing = sum(not report.is_clean for report in reports)
    checks = [check for report in reports for check in report.checks]
    biases = sum(check.compared for check in checks if check.name == "biases")
    figures = sum(check.compared for check in checks if check.name in ("figures", "results"))
    without = sum(check.name == "checksums" and bool(check.reason) for check in checks)
    result = (
        f"{differing} of {len(reports)} runs differ"
        if differing
        else f"{counted(len(reports), 'run')}, no mismatch"
    )
    return (
        f"{result}; {biases:,} biases recomputed from the counts, {figures:,} metrics from the integers; "
        f"{counted(without, 'run has', 'runs have')} tables without checksums."
    )
