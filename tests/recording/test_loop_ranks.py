"""Several ranks of torch.distributed: rank 0 writes the sum over all of them, once per step."""

import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from explorer.errors import RunFolderError
from explorer.recording import RunFolder
from explorer.recording.notices import Notices
from explorer.recording.rank_sums import await_count

torch = pytest.importorskip("torch")
ROOT = Path(__file__).parents[2]
RANK = """
import sys
import numpy as np, torch, torch.distributed as dist
from explorer.recording import Recorder
folder, rank, port = sys.argv[1], int(sys.argv[2]), sys.argv[3]
dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
for mode in ("sum", "keep", "off"):
    with Recorder(folder, num_layers=2, num_experts=3, top_k=2, run_id=mode, ranks=mode) as rec:
        counts = torch.arange(6).reshape(2, 3) * (rank + 1)
        rec.log(0, tokens_per_expert=counts, lm_loss=1.0 + rank)
        loss = "no number" if rank else None
        rec.log(1, tokens_per_expert=list(counts), expert_bias=np.ones((2, 3)), lm_loss=loss)
        rec.log(2, tokens_per_expert=counts if rank == 0 else counts[:1])
        rec.log(3, tokens_per_expert=(counts if rank == 0 else counts / 7), lm_loss=5.0 if rank else None)
        rec.log(4, selected_experts=torch.full((2, 4, 2), rank), mask=[1, 0, 1, 1])
    print("end of", mode, file=sys.stderr, flush=True)
dist.destroy_process_group()
"""


@dataclass(frozen=True)
class Recorded:
    """What two ranks recorded, one run per mode, and what they said meanwhile."""

    runs: Path
    errors: list[str]
    """Standard error of each rank in the mode `sum`."""

    def run(self, mode: str) -> RunFolder:
        return RunFolder(self.runs / mode)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-c", RANK, str(folder)]
    ranks = [
        subprocess.Popen([*command, rank, port], cwd=ROOT, stderr=subprocess.PIPE, text=True) for rank in "01"
    ]
    errors = [process.communicate(timeout=240)[1] for process in ranks]
    assert [process.returncode for process in ranks] == [0, 0], errors
    return Recorded(folder, [text.partition("end of sum")[0] for text in errors])


def test_counts_are_summed_over_ranks(recorded: Recorded) -> None:
    folder = recorded.run("sum")
    loads = folder.read("expert_loads").sort("step", "layer", "expert")
    of_step = {step: part["tokens"].to_list() for (step,), part in loads.group_by("step")}
    tripled = [0, 3, 6, 9, 12, 15]
    assert of_step == {0: tripled, 1: tripled, 4: [6, 6, 0, 6, 6, 0]}
    losses = folder.read("steps").sort("step")["lm_loss"].to_list()
    assert losses == [1.5, None, None, 5.0, None]
    assert "step 2: 1 ranks gave no usable tokens_per_expert" in recorded.errors[0]
    assert "on this rank: must hold 6 counts" in recorded.errors[1]


def test_ranks_are_kept_apart(recorded: Recorded) -> None:
    rows = recorded.run("keep").read("rank_loads").sort("step", "rank", "layer", "expert")
    by_rank = {rank: part["tokens"].to_list() for (rank,), part in rows.filter(step=0).group_by("rank")}
    assert by_rank == {0: [0, 1, 2, 3, 4, 5], 1: [0, 2, 4, 6, 8, 10]}


def test_rank_0_alone(recorded: Recorded) -> None:
    loads = recorded.run("off").read("expert_loads").sort("step", "layer", "expert")
    assert loads.filter(step=0)["tokens"].to_list() == [0, 1, 2, 3, 4, 5]


def test_a_recorder_on_some_ranks_only_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    store = torch.distributed.HashStore()
    with pytest.raises(RunFolderError, match="only 1 of 2 ranks made a Recorder; make it on every rank"):
        await_count(store, "first", 2, Notices(), patience_s=0.1, notice_s=0.0)
    assert capsys.readouterr().err.count("1 of 2 ranks made a Recorder, which waits for the others") == 1
    store.add("second", 1)
    await_count(store, "second", 2, Notices(), patience_s=0.1)
