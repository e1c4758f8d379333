"""What README prints runs as it is printed."""

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentences import sentence

from explorer.cli.arguments import make_parser
from explorer.recording import RunFolder
from explorer.store import Index

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SIZES = {"range(10_000)": "range(3)", "num_layers=24": "num_layers=2", "num_experts=64": "num_experts=8"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def example(step: str) -> str:
    """README's loop of one's own, a few steps of a small model, with `step` in place of the dots."""
    (code,) = (block for block in blocks("python") if "Recorder" in block)
    for printed, small in SIZES.items():
        assert printed in code
        code = code.replace(printed, small)
    filled, dots = re.subn(r"^ +\.\.\. .*\n", lambda match: f"        {step}\n", code, flags=re.MULTILINE)
    assert dots == 1
    return filled


def test_the_loop_of_ones_own_records_a_run_that_the_index_takes_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[np.ndarray] = []

    def one_step() -> tuple[int, float, np.ndarray, np.ndarray]:
        given.append(np.random.default_rng(len(given)).integers(0, 99, (2, 8)))
        return len(given) * 64, 2.5, given[-1], np.zeros((2, 8), np.float32)

    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"one_step": one_step}
    exec(example("tokens_seen, loss, counts, bias = one_step()"), names)
    folder = RunFolder(tmp_path / "runs" / "my-run")
    assert folder.status.state == "finished"
    loads = folder.read("expert_loads").sort("step", "layer", "expert")
    assert loads["tokens"].to_numpy().reshape(3, 2, 8).tolist() == np.array(given).tolist()
    info = folder.info
    assert (info.run_id, info.balancer_family, info.count_scope) == ("my-run", "loss_free", "global_batch")
    assert info.balancer_label == sentence("labels.loss_free", rate="0.001", scope="global batch")
    with Index.open(tmp_path / "index.duckdb") as index:
        report = index.ingest([tmp_path / "runs"])
        assert (report.changed, report.problems) == (["my-run"], {})


def commands() -> list[list[str]]:
    """The lines for a shell that call the explorer, as lists of arguments."""
    lines = [line for block in blocks("sh") for line in block.splitlines() if " -m explorer " in line]
    return [shlex.split(line, comments=True) for line in lines]


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_the_commands_are_understood(command: list[str]) -> None:
    options = make_parser().parse_args(command[command.index("explorer") + 1 :])
    if hasattr(options, "preset") and not getattr(options, "resume", None):
        from explorer.cli.settings import config_from_options, parse_arms

        config = config_from_options(options)
        assert parse_arms(
            config, getattr(options, "arms", None) or options.balancer or "none", options.preset
        )


def test_readme_has_commands() -> None:
    assert len(commands()) >= 8
