"""Trainings as children of the server: two at a time, the others wait, and none outlives the server."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sentences import pattern, sentence
from waiting import wait_for

from explorer.config.limits import Limits
from explorer.config.presets import get_preset
from explorer.errors import ConfigError, TrainingError
from explorer.recording.status import process_start
from explorer.ui.server.jobs import MOST_ENDED, Job, JobManager

# A trainer that writes what it was told and ends when it is asked to or when its pipe closes.
TRAINER = """
import json, os, pathlib, sys
folder = pathlib.Path(sys.argv[sys.argv.index("--runs") + 1])
name = sys.argv[sys.argv.index("--run-id") + 1]
config = json.loads(pathlib.Path(sys.argv[sys.argv.index("--config") + 1]).read_text())
if name.startswith("bad"):
    print("explorer train: model.top_k = 9 – too many; lower it.", file=sys.stderr)
    print("a warning after it", file=sys.stderr)
    sys.exit(2)
if name.startswith("crash"):
    raise RuntimeError("out of luck")
told = {"pid": os.getpid(), "argv": sys.argv[1:], "config": config}
(folder / (name + ".json")).write_text(json.dumps(told))
for line in sys.stdin:
    if json.loads(line)["command"] == "stop":
        break
(folder / (name + ".ended")).touch()
"""


def job(run_id: str, **changes: object) -> Job:
    return Job(run_id=run_id, config=get_preset("tiny"), **changes)  # type: ignore[arg-type]


@pytest.fixture
def trainer(tmp_path: Path) -> list[str]:
    script = tmp_path / "trainer.py"
    script.write_text(TRAINER, encoding="utf-8")
    return [sys.executable, str(script)]


@pytest.fixture
def manager(tmp_path: Path, trainer: list[str]) -> Iterator[JobManager]:
    (tmp_path / "runs").mkdir()
    made = JobManager(tmp_path / "runs", command=trainer)
    yield made
    made.stop()


def states(manager: JobManager) -> list[str]:
    return [one.state for one in manager.jobs()]


def test_two_train_and_the_others_wait_until_a_place_is_free(manager: JobManager) -> None:
    manager.add([job("a"), job("b"), job("c")])
    assert states(manager) == ["training", "training", "waiting"]
    wait_for((manager.runs_dir / "a.json").exists)
    manager.stop_job("a")
    wait_for(lambda: states(manager) == ["ended", "training", "training"])
    assert (manager.runs_dir / "a.ended").exists()


def test_the_child_gets_the_whole_configuration_and_the_agreed_options(manager: JobManager) -> None:
    manager.add([job("a", preset="tiny")])
    wait_for((manager.runs_dir / "a.json").exists)
    told = json.loads((manager.runs_dir / "a.json").read_text(encoding="utf-8"))
    assert told["config"] == json.loads(json.dumps(get_preset("tiny").to_dict()))
    assert {"--json", "--control-stdin"} <= set(told["argv"])
    assert told["argv"][told["argv"].index("--preset") + 1] == "tiny"


def test_one_in_line_is_taken_out_without_having_run(manager: JobManager) -> None:
    manager.add([job("a"), job("b"), job("c")])
    manager.stop_job("c")
    assert states(manager)[2] == "cancelled"
    manager.stop_all()
    wait_for(lambda: not manager.open_jobs())
    assert not (manager.runs_dir / "c.json").exists()


def test_a_refused_configuration_shows_the_sentence_of_the_trainer(manager: JobManager) -> None:
    manager.add([job("bad")])
    wait_for(lambda: not manager.open_jobs())
    (found,) = manager.jobs()
    assert found.state == "failed"
    assert found.problem == "bad: model.top_k = 9 – too many; lower it."


def test_what_a_child_says_is_read_whatever_the_console_can_show(
    manager: JobManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii:replace")
    manager.add([job("bad")])
    wait_for(lambda: not manager.open_jobs())
    assert "–" in manager.jobs()[0].problem


def test_a_crash_shows_the_code_and_the_last_line(manager: JobManager) -> None:
    manager.add([job("crash")])
    wait_for(lambda: not manager.open_jobs())
    (found,) = manager.jobs()
    assert found.state == "failed"
    assert found.problem == "crash: " + sentence(
        "cli.child_failed", code=1, error="RuntimeError: out of luck"
    )


def test_a_program_that_is_not_there_fails_with_a_sentence(tmp_path: Path) -> None:
    manager = JobManager(tmp_path, command=[str(tmp_path / "missing")])
    manager.add([job("a")])
    (found,) = manager.jobs()
    assert found.state == "failed"
    assert sentence("jobs.not_started") in found.problem
    assert found.config_file is not None
    assert not found.config_file.exists()
    manager.stop()


def test_ended_ones_are_forgotten_and_the_others_stay(manager: JobManager) -> None:
    manager.add([job("bad"), job("a")])
    wait_for(lambda: states(manager)[0] == "failed")
    manager.forget()
    assert [one.run_id for one in manager.jobs()] == ["a"]


def test_stopping_the_manager_stops_every_child(manager: JobManager) -> None:
    manager.add([job("a"), job("b"), job("c")])
    wait_for((manager.runs_dir / "b.json").exists)
    manager.stop()
    assert states(manager) == ["ended", "ended", "cancelled"]
    assert not [one for one in manager.jobs() if one.config_file and one.config_file.exists()]
    manager.add([job("d")])
    assert states(manager)[-1] == "waiting", "nothing starts once the server goes down"


def test_no_child_outlives_a_killed_server(tmp_path: Path, trainer: list[str]) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    server = tmp_path / "server.py"
    server.write_text(
        "import sys, time\n"
        "from pathlib import Path\n"
        "from explorer.config.presets import get_preset\n"
        "from explorer.ui.server.jobs import Job, JobManager\n"
        "manager = JobManager(Path(sys.argv[1]), command=sys.argv[2:])\n"
        "manager.add([Job(run_id=name, config=get_preset('tiny')) for name in ('a', 'b')])\n"
        "time.sleep(600)\n",
        encoding="utf-8",
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen([sys.executable, str(server), str(runs), *trainer], env=environment)
    try:
        wait_for(lambda: (runs / "a.json").exists() and (runs / "b.json").exists())
        pids = [json.loads((runs / f"{n}.json").read_text(encoding="utf-8"))["pid"] for n in ("a", "b")]
        assert all(process_start(pid) for pid in pids)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    wait_for(lambda: not any(process_start(pid) for pid in pids))
    assert (runs / "a.ended").exists(), "it was not killed: it noticed that its pipe had closed"


def test_the_queue_takes_so_many_runs_of_everybody_and_the_rest_are_refused_as_a_whole(
    tmp_path: Path, trainer: list[str]
) -> None:
    (tmp_path / "runs").mkdir()
    manager = JobManager(tmp_path / "runs", command=trainer, limits=Limits(queue=3))
    try:
        manager.add([job("a"), job("b")])
        with pytest.raises(ConfigError, match="runs = 2: " + pattern("jobs.too_many", busy=2)):
            manager.add([job("c"), job("d")])
        manager.add([job("c")])
        assert [one.run_id for one in manager.jobs()] == ["a", "b", "c"]
        manager.stop_job("c")
        manager.add([job("d")])
        assert states(manager) == ["training", "training", "cancelled", "waiting"]
    finally:
        manager.stop()


@pytest.mark.parametrize("names", [["a"], ["b", "b"]])
def test_no_two_trainings_have_one_name(manager: JobManager, names: list[str]) -> None:
    manager.add([job("a")])
    with pytest.raises(ConfigError, match=pattern("jobs.in_queue_already")):
        manager.add([job(name) for name in names])
    assert [one.run_id for one in manager.jobs()] == ["a"]


def test_only_the_latest_ended_ones_are_listed(tmp_path: Path) -> None:
    manager = JobManager(tmp_path, command=[str(tmp_path / "missing")])
    for number in range(MOST_ENDED + 3):
        manager.add([job(f"run{number}")])
    names = [one.run_id for one in manager.jobs()]
    assert (names[0], len(names)) == ("run2", MOST_ENDED + 1)
    manager.stop()


def test_an_app_that_only_shows_trains_and_switches_nothing(tmp_path: Path) -> None:
    manager = JobManager(tmp_path, command=[str(tmp_path / "missing")], read_only=True)
    with pytest.raises(TrainingError, match=pattern("jobs.shows_only")):
        manager.add([job("a")])
    with pytest.raises(TrainingError, match=pattern("jobs.shows_only")):
        manager.switch_rule("a", "none")
    assert not manager.jobs()
