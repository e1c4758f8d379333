"""Known vulnerabilities of the pinned packages: `python tests/audit.py`, a part of `make check`.

Exit code 1 if there are any. Where the vulnerability service cannot be reached, or does not know a package,
that is said and is no failure: a check that did not happen must not read as one that passed.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

REQUIREMENTS = Path(__file__).parents[1] / "requirements.txt"
PATIENCE_S = 120


def verdict(report: Mapping[str, Any] | None) -> tuple[list[str], int]:
    """What is printed, and the exit code. report: what pip-audit found, None if it found no service."""
    packages = list(report["dependencies"]) if report else []
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    lines = [
        f"{package['name']} {package['version']}: {advisory['id']}, mended in "
        f"{', '.join(advisory['fix_versions']) or 'no version yet'}"
        for package in packages
        for advisory in package.get("vulns", ())
    ]
    code = 1 if lines else 0
    checked = len(packages) - len(unknown)
    if not checked:
        lines.append(
            "Vulnerabilities: not checked, the service was not reached or knows none of the packages."
        )
    else:
        lines.append(f"Vulnerabilities: {checked} packages checked, {'some' if code else 'none'} known.")
        if unknown:
            lines.append(f"Not checked: {', '.join(unknown)}.")
    return lines, code


def audit(requirements: Path) -> Mapping[str, Any] | None:
    """The report of pip-audit; None if there is none."""
    command = [sys.executable, "-m", "pip_audit", "-r", str(requirements), "--no-deps", "--disable-pip"]
    command += ["--format", "json", "--progress-spinner", "off"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        report = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        return None
    return report if isinstance(report, dict) else None


if __name__ == "__main__":
    report_lines, exit_code = verdict(audit(REQUIREMENTS))
    print("\n".join(report_lines))
    sys.exit(exit_code)
