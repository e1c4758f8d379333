"""What is wrong with a run's router: the findings of `explorer.health` on the rows of the index."""

from explorer.health import Finding, RunRows, diagnose
from explorer.health.rows import (
    LAYER_STEPS,
    LOADS,
    SEQUENCE_STEPS,
    SEQUENCES,
    STEPS,
    kept_steps,
    last_evaluation,
)
from explorer.queries._frames import Cursor, first_row, frame
from explorer.recording import RunFolder, RunInfo


def findings(cur: Cursor, run_id: str) -> list[Finding]:
    """The same as `python -m explorer diagnose`, up to the last step that the index knows.

    Labels such as the phase come from run.json. Raises UnreadableRunError if that cannot be read.
    """
    path = first_row(cur, "SELECT path FROM runs WHERE run_id = $run_id", run_id=run_id)
    return [] if path is None else diagnose(run_rows(cur, RunFolder(path[0]).info))


def run_rows(cur: Cursor, info: RunInfo) -> RunRows:
    """The rows of a run that the checks look at."""
    run_id = info.run_id
    steps = frame(
        cur, f"SELECT {', '.join(STEPS)} FROM steps WHERE run_id = $run_id ORDER BY step", run_id=run_id
    )
    kept = kept_steps(steps["step"].to_numpy(), sum(info.layer_widths))
    some = {} if kept is None else {"steps": kept.tolist()}
    condition = "" if kept is None else "AND step IN (SELECT unnest($steps::BIGINT[]))"
    return RunRows(
        info=info,
        loads=frame(
            cur,
            f"SELECT {', '.join(LOADS)} FROM expert_loads WHERE run_id = $run_id {condition}",
            run_id=run_id,
            **some,
        ),
        steps=steps,
        layer_steps=frame(
            cur, f"SELECT {', '.join(LAYER_STEPS)} FROM layer_steps WHERE run_id = $run_id", run_id=run_id
        ),
        sequence_loads=frame(
            cur,
            f"""
            SELECT {", ".join(SEQUENCES)} FROM sequence_loads
            WHERE run_id = $run_id AND split = 'train' AND step IN (
                SELECT DISTINCT step FROM sequence_loads WHERE run_id = $run_id AND split = 'train'
                ORDER BY step DESC LIMIT {SEQUENCE_STEPS}
            )
            """,
            run_id=run_id,
        ),
        domain_loads=last_evaluation(
            frame(
                cur,
                "SELECT step, domain, layer, expert, tokens, split FROM eval_loads WHERE run_id = $run_id",
                run_id=run_id,
            )
        ),
        is_sampled=kept is not None,
    )
