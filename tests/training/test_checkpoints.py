"""Checkpoints appear whole or not at all, and a disk that refuses one is told in a sentence."""

from pathlib import Path

import pytest
import torch
from disk import files_of_at_most
from sentences import pattern, sentence

from explorer.cli import main
from explorer.errors import TrainingError
from explorer.recording import RunFolder
from explorer.training.checkpoints import latest_step, load, save

STATE = {"weights": torch.arange(5000)}


class TestSave:
    def test_the_newest_two_are_kept(self, tmp_path: Path) -> None:
        for step in (3, 6, 9):
            save(tmp_path, step, STATE)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000006.pt", "step-00000009.pt"]
        assert load(tmp_path, 9, torch.device("cpu"))["weights"].equal(STATE["weights"])

    def test_an_older_one_that_cannot_be_deleted_ends_no_training(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        save(tmp_path, 3, STATE)
        save(tmp_path, 6, STATE)

        def refuse(path: Path, missing_ok: bool = False) -> None:
            raise PermissionError(13, "Permission denied", str(path))

        with monkeypatch.context() as broken:
            broken.setattr(Path, "unlink", refuse)
            save(tmp_path, 9, STATE)
        assert latest_step(tmp_path) == 9
        save(tmp_path, 12, STATE)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000009.pt", "step-00000012.pt"]

    def test_a_full_disk_is_one_sentence_and_leaves_the_older_ones(self, tmp_path: Path) -> None:
        save(tmp_path, 3, STATE)
        save(tmp_path, 6, STATE)
        message = (
            r"step-00000009\.pt: "
            + pattern("training.checkpoint_unwritable")
            + r" \(File too large\).*from step 6\.$"
        )
        with files_of_at_most(10_000), pytest.raises(TrainingError, match=message):
            save(tmp_path, 9, STATE)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000003.pt", "step-00000006.pt"]

    def test_without_an_older_one_the_run_starts_over(self, tmp_path: Path) -> None:
        with (
            files_of_at_most(10_000),
            pytest.raises(TrainingError, match=pattern("training.resume_from_start")),
        ):
            save(tmp_path / "new", 9, STATE)
        assert latest_step(tmp_path / "new") is None

    def test_an_error_that_is_not_the_disks_keeps_its_name(self, tmp_path: Path) -> None:
        with pytest.raises((AttributeError, TypeError), match=r"pickle|local"):
            save(tmp_path, 3, {"function": lambda: None})
        assert list(tmp_path.iterdir()) == []

    def test_what_a_killed_process_left_is_removed(self, tmp_path: Path) -> None:
        (tmp_path / "step-00000003.pt.0a1b2c3d.tmp").write_bytes(b"half")
        save(tmp_path, 3, STATE)
        assert [p.name for p in tmp_path.iterdir()] == ["step-00000003.pt"]


def test_a_training_on_a_full_disk_is_resumed_and_equals_an_unbroken_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["train", "--preset", "tiny", "--balancer", "loss_free", "--runs", str(tmp_path)]
    common += ["--set", "training.checkpoint_interval=8", "--json"]
    assert main([*common, "--run-id", "whole"]) == 0
    capsys.readouterr()
    with files_of_at_most(40_000):  # the rows of the steps fit, a checkpoint does not
        assert main([*common, "--run-id", "full"]) == 2
    warning = capsys.readouterr().err
    assert warning.count("\n") == 1
    assert sentence("training.checkpoint_unwritable") in warning
    assert "Traceback" not in warning
    folder = RunFolder(tmp_path / "full")
    assert (folder.status.state, folder.last_step) == ("failed", 7)
    assert main(["train", "--resume", str(folder.path), "--json"]) == 0
    order = ["step", "layer", "expert"]
    rows = [
        RunFolder(tmp_path / name).read("expert_loads").drop("run_id").sort(order)
        for name in ("full", "whole")
    ]
    assert rows[0].equals(rows[1])
