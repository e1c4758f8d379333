"""The shipped runs: what is wrong with some is found, and the healthy ones raise no alarm."""

from pathlib import Path

import pytest
import shipped_index
from unhealthy_runs import findings_of

from explorer.queries import diagnosis
from explorer.store import Index

RUNS = Path(__file__).resolve().parents[2] / "data" / "runs"
WRONG = {
    "standard-aux_loss-coeff-0.001-scope-sequence-seed0": {"weak_loss"},
    "standard-aux_loss-coeff-0.001-seed0": {"weak_loss"},
    "standard-aux_loss-coeff-1-score_norm-raw-seed0": {"collapse", "dead_experts", "weak_loss"},
    "standard-loss_free-bias_update_rate-0.0003-seed0": {"u_too_small"},
    "standard-loss_free-bias_update_rate-0.03-seed0": {"u_too_large"},
    **{f"standard-none-seed{seed}": {"collapse", "no_balancing"} for seed in range(5)},
}


@pytest.mark.parametrize("path", sorted(RUNS.iterdir()), ids=lambda path: path.name)
def test_a_shipped_run(path: Path) -> None:
    assert {finding.kind for finding in findings_of(path)} == WRONG.get(path.name, set())


def test_the_index_gives_the_same_findings_as_the_folder(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with Index.open(shipped_index.copied(tmp_path_factory, tmp_path)) as index, index.cursor() as cur:
        for name in WRONG:
            assert diagnosis.findings(cur, name) == findings_of(RUNS / name), name
