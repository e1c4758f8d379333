"""Training runs of one server: what its visitors may queue and switch, and what its pages list."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import trainers
from sentences import pattern
from waiting import wait_for

from explorer.config.limits import GB, Limits, memory_of
from explorer.errors import ConfigError, TrainingError
from explorer.ui.server.jobs import MOST_ENDED, NICENESS, JobManager


@pytest.fixture
def manager(tmp_path: Path, runs: Path) -> Iterator[JobManager]:
    with JobManager(runs, command=trainers.trainer_command(tmp_path)) as made:
        yield made


def test_the_queue_takes_so_many_runs_of_everybody_and_the_rest_are_refused_as_a_whole(
    manager: JobManager, runs: Path
) -> None:
    manager.limits = Limits(queue=3)
    manager.add([trainers.job(runs, "a"), trainers.job(runs, "b")])
    with pytest.raises(ConfigError, match="runs = 2: " + pattern("jobs.too_many", busy=2)):
        manager.add([trainers.job(runs, "c"), trainers.job(runs, "d")])
    manager.add([trainers.job(runs, "c")])
    assert [one.run_id for one in manager.jobs()] == ["a", "b", "c"]
    manager.stop_job("c")
    manager.add([trainers.job(runs, "d")])
    assert [one.state for one in manager.jobs()] == ["training", "training", "cancelled", "waiting"]


def test_pages_go_before_trainings(manager: JobManager, runs: Path) -> None:
    """In a suite that is niced more, a training may stay as it is."""
    manager.add([trainers.job(runs, "a")])
    (job,) = manager.jobs()
    assert job.child is not None
    assert os.getpriority(os.PRIO_PROCESS, job.child.pid) >= NICENESS > 0


def test_only_the_latest_ended_ones_are_listed(tmp_path: Path, runs: Path) -> None:
    with JobManager(runs, command=[str(tmp_path / "missing")]) as manager:
        for number in range(MOST_ENDED + 3):
            manager.add([trainers.job(runs, f"run{number}")])
        names = [one.run_id for one in manager.jobs()]
        assert (names[0], names[-1], len(names)) == ("run3", f"run{MOST_ENDED + 2}", MOST_ENDED)


def test_those_that_ended_are_forgotten_and_the_others_stay(manager: JobManager, runs: Path) -> None:
    manager.add([trainers.job(runs, "bad"), trainers.job(runs, "a")])
    wait_for(lambda: manager.jobs()[0].state == "failed")
    manager.forget_ended()
    assert [one.run_id for one in manager.jobs()] == ["a"]


def test_a_switch_goes_by_the_limits_of_the_host(manager: JobManager, runs: Path) -> None:
    """A rule may keep distributions of its own, so that the run takes more than when it was started."""
    small, large = "mqb:num_bins=64", "mqb:num_bins=1000000"
    job = trainers.job(runs, "a")
    limit = memory_of(job.under(job.rules_of(small)))
    manager.limits = Limits(memory_gb=limit / GB)
    manager.add([job])
    with pytest.raises(ConfigError, match=pattern("control.most_on_this_machine")):
        manager.switch_rules("a", large)
    assert job.sent_rules == []
    manager.switch_rules("a", small)
    assert job.sent_rules == [small]


def test_an_app_that_only_shows_trains_and_switches_nothing(tmp_path: Path, runs: Path) -> None:
    manager = JobManager(runs, command=[str(tmp_path / "missing")], read_only=True)
    with pytest.raises(TrainingError, match=pattern("jobs.shows_only")):
        manager.add([trainers.job(runs, "a")])
    with pytest.raises(TrainingError, match=pattern("jobs.shows_only")):
        manager.switch_rules("a", "none")
    assert not manager.jobs()
