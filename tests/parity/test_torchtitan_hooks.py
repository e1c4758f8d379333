"""`watch` on torchtitan's own MoE layer: the ids that its experts receive, and the bias it selected with."""

import re
from pathlib import Path

import pytest
import torch
from our_layer import D, E
from torchtitan_layer import make_theirs

from explorer.recording import Recorder, RunFolder, watch

PAGE = Path(__file__).parents[2] / "docs" / "recording.md"
pytestmark = pytest.mark.filterwarnings("ignore:In CPU autocast")


def test_selected_experts_and_bias() -> None:
    layer = make_theirs(top_k=2).train()
    watcher = watch(layer)
    assert (watcher.sizes["num_experts"], watcher.sizes["top_k"]) == (E, 2)
    with torch.no_grad():
        layer.expert_bias_E.normal_(generator=torch.Generator().manual_seed(0))
    received = []
    layer.routed_experts.register_forward_pre_hook(lambda module, args: received.append(args[2].clone()))
    for seed in (1, 2):
        layer(torch.randn(2, 7, D, generator=torch.Generator().manual_seed(seed)))
    values = watcher.take()
    expected = torch.bincount(torch.cat(received).reshape(-1), minlength=E)
    assert len(received) == 2
    assert values["tokens_per_expert"][0].tolist() == expected.tolist()
    assert values["expert_bias"][0].tolist() == layer.expert_bias_E.tolist()


def test_the_loop_of_the_docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    (code,) = (block for block in blocks if "titan_step" in block)
    names = {"Recorder": Recorder, "watch": watch, "titan_model": make_theirs(top_k=2).train()}
    exec(code, {**names, "titan_step": lambda layer: layer(torch.randn(2, 7, D)).square().mean()})
    assert RunFolder(Path("runs/titan")).read("expert_loads")["tokens"].sum() == 3 * 14 * 2
