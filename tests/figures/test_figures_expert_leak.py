"""The leak of expert choice on screen: counts of a probe as the loops find them."""

from pathlib import Path

import numpy as np
from probe_runs import LENGTH, probe_record, rule_biases, write_probe_run
from reference import expert_leak as slow
from store_runs import random_counts, write_run

from explorer.figures import expert_leak
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import run_from_row
from explorer.figures.expert_leak import LeakSettings
from explorer.figures.panel import Missing, Panel
from explorer.figures.store import OpenStore
from explorer.queries.runs import list_runs
from explorer.store import Index


def test_the_panel_counts_what_the_loops_count(tmp_path: Path) -> None:
    write_probe_run(tmp_path / "runs", "free")
    write_run(tmp_path / "runs", "without", steps=12)
    with Index.open(tmp_path / "index.duckdb") as index:
        index.ingest([tmp_path / "runs"])
        store = OpenStore(index)
        with index.cursor() as cur:
            runs = {run.run_id: run for run in map(run_from_row, list_runs(cur).to_dicts())}
        panel = expert_leak.by_chunk(store, ArmSet.of_runs([runs["free"]]), LeakSettings(step=12))
        without = expert_leak.by_chunk(store, ArmSet.of_runs([runs["without"]]), LeakSettings())
    assert isinstance(without, Missing)
    assert isinstance(panel, Panel)
    assert panel.table is not None
    assert panel.statements
    record = probe_record(12, rule_biases(random_counts(25, 2, 8))[12], 2, 8, 2)
    scores = (1 / (1 + np.exp(-record.router_logits_PLE.astype(float)))).transpose(1, 0, 2).tolist()
    for row in panel.table.to_dicts():
        counts = [slow.leak(layer, 2, row["chunk"], LENGTH) for layer in scores]
        place = 1 if row["reach"].startswith("an earlier") else 2
        assert row["trials"] == sum(count[0] for count in counts)
        assert row["changed"] == sum(count[place] for count in counts)


def test_chunks_are_powers_of_two_up_to_all_tokens() -> None:
    assert expert_leak.chunk_sizes(1024) == [16, 32, 64, 128, 256, 512, 1024]
    assert expert_leak.chunk_sizes(100) == [16, 32, 64, 100]
    assert expert_leak.chunk_sizes(8) == [8]
