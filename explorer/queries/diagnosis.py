"""What is wrong with a run's router: the findings of `explorer.health` on the rows of the index."""

from explorer.health import Finding, diagnose
from explorer.queries._frames import Cursor, first_row
from explorer.recording import RunFolder
from explorer.store.diagnosis import decoded, run_rows


def findings(cur: Cursor, run_id: str) -> list[Finding]:
    """The same as `python -m explorer diagnose`, up to the last step that the index knows.

    Those of a large run are read as they were stored at ingest. Labels such as the phase come from run.json.
    Raises UnreadableRunError if that cannot be read.
    """
    row = first_row(
        cur,
        "SELECT path, findings FROM runs LEFT JOIN diagnoses USING (run_id) WHERE run_id = $run_id",
        run_id=run_id,
    )
    if row is None:
        return []
    path, stored = row
    return diagnose(run_rows(cur, RunFolder(path).info)) if stored is None else decoded(stored)
