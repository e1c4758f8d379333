"""`verify`: clean on what was recorded, and the command."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sentences import sentence
from store_runs import make_info, random_counts, record_steps, write_run
from verified import NAMES, STEPS, edit, record, rewrite, setter, verify

from explorer.cli import main
from explorer.recording.run_writer import RunWriter

RUNS = Path(__file__).resolve().parents[2] / "data" / "runs"


CLEAN = {"documents": "ok", "checksums": "ok", "keys": "ok", "sums": "ok", "results": "ok", "figures": "ok"}


ARMS_CHECKED = (
    "none",
    "loss_free:u=0.01,update_rule=proportional,centred=true",
    "loss_free:bias_form=multiplicative,update_rule=rms",
    "loss_free:u=0.01,freeze_after_step=5+aux_loss",
    "loss_free:step_decay=sqrt",
    "loss_free:load_ema=0.9",
    "loss_free:load_ema=0.5,update_rule=proportional,centred=true,step_decay=sqrt,freeze_after_step=9",
    "smebu:u=0.01,sharpness=3,momentum=0.7,freeze_after_step=9",
    "none/6/loss_free",
    "loss_free/6/loss_free:bias_form=multiplicative",
)


class TestClean:
    @pytest.mark.parametrize("arm", ARMS_CHECKED)
    def test_what_was_just_recorded(self, arm: str, tmp_path: Path) -> None:
        checks = verify(record(tmp_path, arm))
        moving = [rule for rule in arm.split("/") if rule.startswith(("loss_free", "smebu"))]
        moved = len(moving) / (arm.count("/") // 2 + 1)
        assert {name: check.status for name, check in checks.items()} == {**CLEAN, "biases": "ok"}
        restarts = (
            8 if "multiplicative" in arm and "/" in arm else 0
        )  # a bias that starts anew is not an update
        assert checks["biases"].compared == moved * STEPS * 8 - restarts

    @pytest.mark.parametrize(
        ("arm", "changes", "reason"),
        [
            ("quantile", {}, sentence("bias_step.reads_all_scores")),
            ("none", {"routing": "expert_choice"}, None),
            ("none", {"top_p": 0.6}, None),
        ],
    )
    def test_what_the_counts_do_not_settle_is_said(
        self, arm: str, changes: dict[str, Any], reason: str | None, tmp_path: Path
    ) -> None:
        checks = verify(record(tmp_path, arm, **changes))
        name, words = ("biases", reason) if reason else ("sums", sentence("verify.not_settled"))
        assert checks[name].status == "not recomputable"
        assert words in checks[name].reason
        others = {other: check.status for other, check in checks.items() if other != name}
        assert set(others.values()) == {"ok"}

    @pytest.mark.parametrize("stop", [3, 6])
    def test_a_resumed_run(self, stop: int, tmp_path: Path) -> None:
        checks = verify(record(tmp_path, "none/6/loss_free:u=0.01", stop=stop))
        assert {check.status for check in checks.values()} == {"ok"}

    def test_a_run_of_other_software(self, tmp_path: Path) -> None:
        write_run(tmp_path)
        checks = verify(tmp_path / "run")
        assert not [check for check in checks.values() if check.mismatches]
        assert checks["biases"].status == "not recomputable"
        assert checks["figures"].compared > 40 * 2 * 10

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("experts", [[2], [0, 1, 2, 3]])
    def test_a_bias_that_is_no_finite_number(self, value: float, experts: list[int], tmp_path: Path) -> None:
        """The spread of a layer is then what the index says: not a number, or infinite."""
        bias = np.tile(np.linspace(-3e4, 3e4, 4), (6, 2, 1))
        bias[3:, 1, experts] = value
        with RunWriter.create(tmp_path, make_info(num_steps=6)) as recorder:
            record_steps(recorder, random_counts(6, 2, 4), range(6), bias)
        checks = verify(tmp_path / "run")
        assert not [check for check in checks.values() if check.mismatches]
        assert checks["figures"].compared >= 6 * 2 * 11

    def test_a_bias_that_went_wrong_and_stays_wrong(self, run: Path) -> None:
        """From NaN every update leads to NaN, and the other experts go on."""
        for step in range(7, STEPS):
            rewrite(run, "expert_loads", setter("expert_bias", np.nan, step=step, layer=0, expert=3))
        rewrite(run, "eval_loads", lambda rows: rows.filter(pl.col("step") < 7))
        checks = verify(run)
        assert (checks["biases"].mismatches, checks["biases"].first.step) == (1, 7)  # where it went wrong

    def test_a_run_that_is_being_written(self, tmp_path: Path) -> None:
        write_run(tmp_path, finish=False)
        assert not [check for check in verify(tmp_path / "run").values() if check.mismatches]

    def test_shipped_runs_recompute_bit_for_bit(self) -> None:
        """One run with a switch of the rule; the command is run on all of them before a release."""
        checks = verify(RUNS / "standard-none-400-loss_free-seed0")
        assert {name: check.status for name, check in checks.items()} == {
            **CLEAN, "biases": "ok", "checksums": "not checksummed",
        }  # fmt: skip
        assert checks["biases"].compared == 400 * 4 * 16


class TestCommand:
    def test_it_goes_on_after_a_mismatch_and_ends_with_1(
        self, run: Path, sound: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        other = Path(shutil.copytree(sound, run.parent / "sound"))
        edit(other, "run.json", run_id="sound")
        edit(run, "run.json", seed=5)
        rewrite(run, "expert_loads", setter("tokens", 0, step=5, layer=1, expert=2))
        assert main(["verify", "--runs", str(run.parent)]) == 1
        output = capsys.readouterr().out
        assert sentence("verify.seed_expected", seed=5, expected=0) in output
        assert "expert_loads, step 5, layer 1: " + sentence("verify.assignments") in output
        assert "1 of 2 runs differ" in output
        assert "1 run has tables without checksums." in output
        assert main(["verify", "sound", "--runs", str(run.parent)]) == 0
        output = capsys.readouterr().out
        assert "1 run, no mismatch" in output
        assert "0 runs have tables without checksums." in output

    def test_json(self, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
        rewrite(run, "expert_loads", setter("tokens", 0, step=5, layer=1, expert=2))
        assert main(["verify", str(run), "--json"]) == 1
        (report,) = json.loads(capsys.readouterr().out)
        assert (report["run_id"], report["status"]) == ("run", "mismatch")
        assert [check["name"] for check in report["checks"]] == NAMES
        first = next(check for check in report["checks"] if check["name"] == "sums")["first"]
        assert (first["table"], first["step"], first["layer"], first["expected"]) == (
            "expert_loads",
            5,
            1,
            256,
        )

    def test_a_damaged_folder_is_a_mismatch_and_the_others_are_checked(
        self, run: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shutil.copytree(run, run.parent / "broken")
        (run.parent / "broken" / "run.json").write_text("{")
        assert main(["verify", "--runs", str(run.parent)]) == 1
        output = capsys.readouterr().out
        assert "run.json is " + sentence("errors.damaged_or_cut_short") in output
        assert "1 of 2 runs differ" in output

    def test_a_folder_of_runs_is_no_damaged_run(self, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
        shutil.copytree(run.parent, run.parent / "sweep")
        assert main(["verify", "--runs", str(run.parent)]) == 0
        assert "1 run, no mismatch" in capsys.readouterr().out

    @pytest.mark.parametrize("name", [".", "../run", "checkpoints/.."])
    def test_a_run_may_be_named_from_inside(
        self, name: str, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (run / "checkpoints").mkdir(exist_ok=True)
        monkeypatch.chdir(run)
        assert main(["verify", name]) == 0
        assert capsys.readouterr().out.startswith("run  ")

    def test_a_name_that_is_not_unicode_is_printed_all_the_same(
        self, run: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shutil.copytree(run, run.parent / os.fsdecode(b"bad\xff"))
        for options in ([], ["--json"]):
            assert main(["verify", "--runs", str(run.parent), *options]) == 1
            output = capsys.readouterr().out
            output.encode()
            assert "bad\\udcff" in output.replace("\\\\", "\\")

    @pytest.mark.parametrize("name", ["nothing", "x" * 5000, "a/b"])
    def test_an_unknown_run_is_a_sentence(
        self, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["verify", name, "--runs", str(tmp_path)]) == 2
        output = capsys.readouterr().err
        assert "explorer verify: RUN = " in output
        assert output.count("\n") == 1

    def test_without_duckdb_the_rest_is_checked(self, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "explorer.store", None)
        checks = verify(run)
        assert checks["figures"].status == "not recomputable"
        assert "DuckDB " + sentence("errors.not_installed") in checks["figures"].reason
        assert {check.status for name, check in checks.items() if name != "figures"} == {"ok"}


def test_biases_of_other_software_are_checked_against_the_rule_that_run_json_states(tmp_path: Path) -> None:
    """Counts and biases of a loop of one's own, with the rule as text and no configuration."""
    counts = random_counts(6, 2, 4)
    moves = np.float32(0.001) * np.sign(counts.sum(-1, keepdims=True) - counts * 4).astype(np.float32)
    biases = np.zeros(counts.shape, np.float32)
    for step in range(1, 6):
        biases[step] = biases[step - 1] + moves[step - 1]
    for run_id, balancer in (
        ("right", "loss_free:u=0.001"),
        ("wrong", "loss_free:u=0.01"),
        ("unsaid", "none"),
    ):
        info = make_info(run_id, balancer=balancer, config={}, num_steps=6)
        with RunWriter.create(tmp_path, info) as recorder:
            record_steps(recorder, counts, range(6), biases)
    assert verify(tmp_path / "right")["biases"].status == "ok"
    assert verify(tmp_path / "wrong")["biases"].status == "mismatch"
    assert verify(tmp_path / "unsaid")["biases"].status == "not recomputable"
