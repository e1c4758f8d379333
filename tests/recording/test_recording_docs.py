"""The loops of docs/recording.md run as they are printed."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from explorer.recording import Recorder, RunFolder, watch

PAGE = Path(__file__).parents[2] / "docs" / "recording.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def run_block(run_id: str, **names: Any) -> RunFolder:
    """Run the block that makes the run `run_id`, with these names defined."""
    (code,) = (block for block in BLOCKS if f'run_id="{run_id}"' in block)
    exec(code, {"Recorder": Recorder, "watch": watch, **names})
    folder = RunFolder(Path("runs") / run_id)
    assert folder.status.state == "finished"
    return folder


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_block_is_run() -> None:
    assert [re.findall(r'run_id="(.*?)"', block) for block in BLOCKS] == [
        ["plain"],
        ["olmoe"],
        ["trainer"],
        ["lightning"],
        ["titan"],
        ["megatron"],
    ]


def test_plain() -> None:
    step = (2.5, np.full((2, 8), 3), np.zeros((2, 8)))
    folder = run_block("plain", train_one_step=lambda: step)
    assert folder.read("expert_loads")["tokens"].sum() == 20 * 16 * 3


def test_transformers() -> None:
    pytest.importorskip("transformers")
    folder = run_block("olmoe")
    assert folder.read("expert_loads")["tokens"].sum() == 3 * 2 * (2 * 12) * 2


def test_trainer() -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from tiny_trainer import ACCUMULATED, STEPS, Texts, settings, tiny_model

    folder = run_block("trainer", model=tiny_model(), args=settings(Path()), texts=Texts())
    assert folder.read("steps")["step"].n_unique() == STEPS
    padding = sum(index % 4 for index in range(STEPS * ACCUMULATED * 2))
    assert folder.read("expert_loads")["tokens"].sum() == 2 * 2 * (STEPS * ACCUMULATED * 2 * 12 - padding)


@pytest.mark.filterwarnings("ignore")  # Lightning's own
def test_lightning() -> None:
    pytest.importorskip("lightning")
    pytest.importorskip("transformers")
    from tiny_lightning import QUIET, make_module
    from tiny_trainer import ACCUMULATED, STEPS, B, Texts
    from torch.utils.data import DataLoader

    folder = run_block(
        "lightning", module=make_module(), batches=DataLoader(Texts(), batch_size=B), quiet=QUIET
    )
    assert folder.read("steps")["step"].n_unique() == STEPS
    padding = sum(index % 4 for index in range(STEPS * ACCUMULATED * B))
    assert folder.read("expert_loads")["tokens"].sum() == 2 * 2 * (STEPS * ACCUMULATED * B * 12 - padding)


def test_megatron() -> None:
    torch = pytest.importorskip("torch")
    from megatron_router import TopKRouter

    def one_step(model: Any) -> Any:
        return model(torch.randn(5, 2, 4))[0].sum()

    model = torch.nn.Sequential(TopKRouter(8, 2, 4))
    folder = run_block("megatron", megatron_model=model, megatron_step=one_step, loss_mask=[1] * 7 + [0] * 3)
    assert folder.read("expert_loads")["tokens"].sum() == 3 * 7 * 2
