"""Training runs as child processes: so many at a time, the rest queued, and none outlives its parent."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import pytest
import trainers
from forked import launched, needs_fork_server
from sentences import pattern, sentence
from waiting import wait_for

from explorer.config.presets import get_preset
from explorer.errors import ConfigError
from explorer.recording import RunFolder
from explorer.recording.status import process_start
from explorer.running.child_process import LocalProcess
from explorer.running.jobs import Child, Job
from explorer.running.run_queue import RunQueue


def make_jobs(runs: Path, *names: str) -> list[Job]:
    return [trainers.job(runs, name) for name in names]


def states(queue: RunQueue) -> list[str]:
    return [one.state for one in queue.jobs()]


def started(runs: Path, name: str) -> dict:
    """How the stand-in was started."""
    wait_for((runs / f"{name}.json").exists)
    return json.loads((runs / f"{name}.json").read_text(encoding="utf-8"))


def test_two_train_and_the_rest_wait_until_a_place_is_free(queue: RunQueue, runs: Path) -> None:
    queue.add(make_jobs(runs, "a", "b", "c"))
    assert states(queue) == ["training", "training", "waiting"]
    started(runs, "a")
    queue.stop_job("a")
    wait_for(lambda: states(queue) == ["ended", "training", "training"])
    assert (runs / "a.ended").exists()


def test_the_child_gets_the_whole_configuration_and_the_agreed_options(queue: RunQueue, runs: Path) -> None:
    queue.add(make_jobs(runs, "a"))
    child = started(runs, "a")
    assert child["config"] == json.loads(json.dumps(get_preset("tiny").to_dict()))
    assert {"--json", "--control-stdin"} <= set(child["argv"])
    assert child["argv"][child["argv"].index("--preset") + 1] == "tiny"


def test_a_queued_training_is_cancelled_without_having_run(queue: RunQueue, runs: Path) -> None:
    queue.add(make_jobs(runs, "a", "b", "c"))
    queue.stop_job("c")
    assert states(queue)[2] == "cancelled"
    queue.stop_all()
    wait_for(lambda: not queue.open_jobs())
    assert not (runs / "c.json").exists()


def test_a_refused_configuration_shows_the_sentence_of_the_trainer(
    queue: RunQueue, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whatever the console can show.
    monkeypatch.setenv("PYTHONIOENCODING", "ascii:replace")
    (job,) = queue.run(make_jobs(runs, "bad"))
    assert job.state == "failed"
    assert job.problem == job.failure == "bad: model.top_k = 9 – too many; lower it."


def test_a_crash_shows_the_code_and_the_last_line(queue: RunQueue, runs: Path) -> None:
    (job,) = queue.run(make_jobs(runs, "crash"))
    assert job.state == "failed"
    assert job.problem == "crash: " + sentence("cli.child_failed", code=1, error="RuntimeError: out of luck")


def test_bad_jobs_leave_the_others_alone_and_each_is_handed_back_as_it_ends(
    queue: RunQueue, runs: Path
) -> None:
    names = ["bad1", "crash", "short1", "bad2", "short2"]
    polls: list[int] = []
    ended = [job.run_id for job in queue.run(make_jobs(runs, *names), lambda: polls.append(1))]
    assert sorted(ended) == sorted(names)
    assert polls
    assert [job.state for job in queue.jobs()] == ["failed", "failed", "ended", "failed", "ended"]


def test_a_program_that_is_not_there_fails_with_a_sentence_and_leaves_no_file(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    with RunQueue(1, partial(LocalProcess, command=[str(tmp_path / "missing")])) as queue:
        (job,) = queue.run(make_jobs(runs, "a"))
    assert job.state == "failed"
    assert sentence("jobs.not_started") in job.problem
    assert not list(scratch.iterdir())


def test_whatever_a_launcher_raises_the_next_job_starts(runs: Path, tmp_path: Path) -> None:
    local = partial(LocalProcess, command=trainers.trainer_command(tmp_path))

    def launch(job: Job) -> Child:
        if job.run_id == "first":
            raise ValueError("no such cluster")
        return local(job)

    with RunQueue(1, launch) as queue:
        list(queue.run(make_jobs(runs, "first", "short")))
        assert [(job.state, job.problem) for job in queue.jobs()] == [
            ("failed", "first: the training " + sentence("jobs.not_started") + " (no such cluster)."),
            ("ended", ""),
        ]


def test_those_that_ended_are_forgotten_and_the_others_stay(queue: RunQueue, runs: Path) -> None:
    queue.add(make_jobs(runs, "bad", "a"))
    wait_for(lambda: states(queue)[0] == "failed")
    queue.forget(queue.jobs())
    assert [one.run_id for one in queue.jobs()] == ["a"]
    queue.add(make_jobs(runs, "bad"))
    assert [one.run_id for one in queue.jobs()] == ["a", "bad"], "it may be tried again"


def test_closing_the_queue_stops_every_child(
    queue: RunQueue, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    queue.add(make_jobs(runs, "a", "b", "c"))
    started(runs, "b")
    queue.close()
    assert states(queue) == ["ended", "ended", "cancelled"]
    assert not list(scratch.iterdir())
    assert [job.state for job in queue.run(make_jobs(runs, "d"))] == ["cancelled"], "nothing starts any more"


def test_ctrl_c_stops_the_children_after_their_step(queue: RunQueue, runs: Path) -> None:
    def interrupt() -> None:
        if (runs / "a.json").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), queue:
        list(queue.run(make_jobs(runs, "a", "b"), interrupt))
    assert states(queue)[0] == "ended"
    assert (runs / "a.ended").exists()


def test_a_child_that_does_not_stop_is_killed(
    queue: RunQueue, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("explorer.running.run_queue.STOP_GRACE_S", 0.1)
    queue.add(make_jobs(runs, "a"))
    os.kill(started(runs, "a")["pid"], signal.SIGSTOP)
    queue.close()
    (job,) = queue.jobs()
    assert job.problem == "a: " + sentence("cli.child_killed", signal="SIGKILL")


def test_no_child_outlives_a_killed_parent(tmp_path: Path, runs: Path) -> None:
    runs.mkdir()
    parent = tmp_path / "parent.py"
    parent.write_text(
        "import sys, time\n"
        "from functools import partial\n"
        "from pathlib import Path\n"
        "from explorer.config.presets import get_preset\n"
        "from explorer.running.child_process import LocalProcess\n"
        "from explorer.running.jobs import Job\n"
        "from explorer.running.run_queue import RunQueue\n"
        "queue, config = RunQueue(2, partial(LocalProcess, command=sys.argv[2:])), get_preset('tiny')\n"
        "queue.add(Job(run_id=name, config=config, runs=Path(sys.argv[1])) for name in ('a', 'b'))\n"
        "time.sleep(600)\n",
        encoding="utf-8",
    )
    command = [sys.executable, str(parent), str(runs), *trainers.trainer_command(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(command, env=environment)
    try:
        pids = [started(runs, name)["pid"] for name in ("a", "b")]
        assert all(process_start(pid) for pid in pids)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    wait_for(lambda: not any(process_start(pid) for pid in pids))
    assert (runs / "a.ended").exists(), "it was not killed: it noticed that its pipe had closed"


@pytest.mark.parametrize("names", [["a"], ["b", "b"]])
def test_no_two_trainings_have_one_name(queue: RunQueue, runs: Path, names: list[str]) -> None:
    queue.add(make_jobs(runs, "a"))
    with pytest.raises(ConfigError, match=pattern("jobs.in_queue_already")):
        queue.add(make_jobs(runs, *names))
    assert [one.run_id for one in queue.jobs()] == ["a"]


@needs_fork_server
def test_a_stopped_run_is_resumed_to_its_end(runs: Path) -> None:
    config = get_preset("tiny").with_setting("training.num_steps", 50)
    with RunQueue(1, launch=launched) as queue:
        job = Job(run_id="run", config=config, runs=runs, preset="tiny")
        queue.add([job])
        wait_for(job.path.exists)
        queue.stop_job("run")
        wait_for(lambda: not job.is_open)
        assert job.state == "ended"
        assert "was stopped" in job.failure
        queue.forget([job])
        (again,) = queue.run([Job(run_id="run", config=config, runs=runs, resume=True)])
        assert (again.state, again.failure, again.steps_done) == ("ended", "", 50)
    assert len(RunFolder(runs / "run").attempts) == 2
