"""A comparison whose training fails says what the training said."""

import sys
from functools import partial
from pathlib import Path

import pytest
from finished_child import Finished
from sentences import sentence

from explorer.cli import compare, main
from explorer.recording import RunFolder
from explorer.running.child_process import LocalProcess
from explorer.running.jobs import Job
from explorer.running.run_queue import RunQueue


@pytest.mark.parametrize(
    ("last_words", "words"),
    [
        (
            "echo 'warning: noise' >&2; echo 'explorer train: runs/x: Read-only file system.' >&2; exit 2",
            "runs/x: Read-only file system.",
        ),
        (
            "echo Traceback >&2; echo 'KeyError: 7' >&2; exit 1",
            sentence("cli.child_failed", code=1, error="KeyError: 7"),
        ),
        ("exit 0", sentence("cli.child_stopped")),
        ("exit 3", sentence("cli.child_silent", code=3)),
        ("kill -9 $$", sentence("cli.child_killed", signal="SIGKILL")),
        (r"printf 'explorer train: bytes \377.\n' >&2; exit 2", "bytes \N{REPLACEMENT CHARACTER}."),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")
def test_the_reason_of_the_child_is_passed_on(
    last_words: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trainer = tmp_path / "trainer"
    trainer.write_text(f"#!/bin/sh\n{last_words}\n")
    trainer.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(trainer))
    runs = tmp_path / "runs"
    assert main(["compare", "--preset", "tiny", "--arms", "none", "--plain-ids", "--runs", str(runs)]) == 2
    assert capsys.readouterr().err == f"explorer compare: tiny-none-seed0: {words}\n"


def test_a_run_that_fails_leaves_the_others_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One child ends at once; the other training is in this process, to load nothing anew."""

    def launch(job: Job) -> LocalProcess | Finished:
        failing = (sys.executable, "-S", "-c", "raise SystemExit(3)")
        return LocalProcess(job, failing) if job.run_id == "tiny-none-seed1" else Finished(job)

    monkeypatch.setattr(compare, "RunQueue", partial(RunQueue, launch=launch))
    runs = tmp_path / "runs"
    common = ["compare", "--preset", "tiny", "--arms", "none", "--plain-ids", "--runs", str(runs)]
    assert main([*common, "--seeds", "1,0", "--jobs", "1", "--json"]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert "tiny-none-seed1: the training ended with code 3" in output.err
    assert "1 of 2 runs failed" in output.err
    assert RunFolder(runs / "tiny-none-seed0").status.state == "finished"
