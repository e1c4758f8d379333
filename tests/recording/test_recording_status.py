"""How a run stands, and what it is."""

import json
import os
import platform
import re
import subprocess
import sys
import time
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from recording_runs import make_info
from sentences import pattern, sentence

from explorer.config.run import RunConfig
from explorer.errors import RunFolderError
from explorer.recording import (
    RunFolder,
    RunInfo,
    RunStatus,
    atomic_write_json,
    make_run_id,
    run_info_from_config,
)
from explorer.recording import status as status_module
from explorer.recording.run_writer import RunWriter
from explorer.recording.status import STATES, own_process, process_start

HERE = platform.node()


def read(tmp_path: Path, **fields: object) -> RunStatus:
    """The status as read, of a file as old as its heartbeat."""
    fields = {"heartbeat": time.time(), "state": "running", **fields}
    path = tmp_path / "status.json"
    atomic_write_json(path, fields)
    os.utime(path, 2 * (min(time.time(), max(0.0, float(str(fields["heartbeat"])))),))
    return RunFolder(tmp_path).status


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system has no /proc")


class TestLiveness:
    def test_this_process_lives(self, tmp_path: Path) -> None:
        status = read(tmp_path, **own_process())
        assert (status.state, status.pid) == ("running", os.getpid())

    @needs_proc
    def test_an_old_heartbeat_does_not_matter_while_the_process_lives(self, tmp_path: Path) -> None:
        assert read(tmp_path, **own_process(), heartbeat=0.0).state == "running"

    def test_a_process_that_is_gone(self, tmp_path: Path) -> None:
        with subprocess.Popen([sys.executable, "-c", ""]) as process:
            process.wait()
        status = read(tmp_path, host=HERE, pid=process.pid, process_started="1")
        assert (status.state, status.message) == ("interrupted", sentence("recording.process_gone"))

    @needs_proc
    def test_a_reused_number_is_another_process(self, tmp_path: Path) -> None:
        assert read(tmp_path, **(own_process() | {"process_started": "1"})).state == "interrupted"

    @needs_proc
    def test_a_dead_process_that_nobody_waited_for_is_gone(self, tmp_path: Path) -> None:
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
            started = process_start(process.pid)
            fields = {"host": HERE, "pid": process.pid, "process_started": started}
            assert read(tmp_path, **fields).state == "running"
            process.kill()
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and still listed
            assert read(tmp_path, **fields).state == "interrupted"

    @needs_proc
    def test_a_command_with_brackets_and_spaces(self) -> None:
        name = Path("/proc/self/comm")
        before = name.read_text()
        plain = process_start(os.getpid())
        try:
            name.write_text("a ) b (c")
            assert process_start(os.getpid()) == plain
        finally:
            name.write_text(before)

    @pytest.mark.parametrize(("age", "state"), [(0, "running"), (179, "running"), (181, "interrupted")])
    def test_another_host_is_judged_by_its_heartbeat(self, tmp_path: Path, age: float, state: str) -> None:
        assert read(tmp_path, host="elsewhere", pid=1, heartbeat=time.time() - age).state == state

    @pytest.mark.parametrize(
        ("age", "words"),
        [(181, "for 3 minutes"), (3_000, "for 50 minutes"), (30_000, "for 8 hours"), (300_000, "for 3 days")],
    )
    def test_what_is_known_of_another_host_is_said(self, tmp_path: Path, age: float, words: str) -> None:
        status = read(tmp_path, host="node17", pid=1, heartbeat=time.time() - age)
        assert status.message == sentence("recording.no_sign_of_life") + f" node17 {words}"

    @pytest.mark.parametrize("ahead", [400.0, 1e9])
    def test_a_clock_that_is_ahead_does_not_run_for_ever(self, tmp_path: Path, ahead: float) -> None:
        fields = {"host": "node17", "pid": 1, "heartbeat": time.time() + ahead}
        assert read(tmp_path, **fields).state == "running"  # the file itself has just been written
        for modified in (time.time() - 200, time.time() + 400):
            os.utime(tmp_path / "status.json", (modified, modified))
            status = RunFolder(tmp_path).status
            assert status.state == "interrupted"
            assert status.message.startswith(sentence("recording.no_sign_of_life") + " node17 ")
        atomic_write_json(tmp_path / "run.json", make_info(tmp_path.name).to_dict())
        RunWriter.resume(tmp_path, 0).finish("finished")

    def test_a_clock_that_is_behind_kills_nobody(self, tmp_path: Path) -> None:
        """Every write of the status is a sign of life too, which the file's own time dates."""
        fields = {"host": "node17", "pid": 1, "heartbeat": time.time() - 400}
        assert read(tmp_path, **fields).state == "interrupted"
        (tmp_path / "status.json").touch()
        assert RunFolder(tmp_path).status.state == "running"
        atomic_write_json(tmp_path / "run.json", make_info(tmp_path.name).to_dict())
        with pytest.raises(
            RunFolderError, match=pattern("recording.written_by_process_on", pid=1, host="node17")
        ):
            RunWriter.resume(tmp_path, 0)

    def test_clocks_a_little_apart_are_usual(self, tmp_path: Path) -> None:
        assert read(tmp_path, host="node17", pid=1, heartbeat=time.time() + 100).state == "running"

    @pytest.mark.parametrize("pid", [10**30, -1])
    def test_a_number_that_no_process_can_have(self, tmp_path: Path, pid: int) -> None:
        status = read(tmp_path, host=HERE, pid=pid, process_started=None)
        rule = f"pid = {pid}: " + sentence("recording.process_id", least=0)
        assert (status.state, status.message) == ("interrupted", f"{tmp_path / 'status.json'}: {rule}")

    @pytest.mark.parametrize("pid", [2**31, 0])
    @pytest.mark.parametrize("started", [None, "1"])
    @pytest.mark.parametrize("has_proc", [True, False])
    def test_a_number_that_no_process_has(
        self, tmp_path: Path, pid: int, started: str | None, has_proc: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if not has_proc:
            monkeypatch.setattr(status_module, "process_start", lambda _: None)
        status = read(tmp_path, host=HERE, pid=pid, process_started=started)
        assert (status.state, status.message) == ("interrupted", sentence("recording.process_gone"))

    @pytest.mark.parametrize(("age", "state"), [(0, "running"), (181, "interrupted")])
    def test_without_proc_the_heartbeat_counts_too(
        self, tmp_path: Path, age: float, state: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(status_module, "process_start", lambda _: None)
        fields = {"host": HERE, "pid": os.getpid(), "process_started": None}
        assert read(tmp_path, **fields, heartbeat=time.time() - age).state == state

    def test_without_proc_a_missing_process_is_gone(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(status_module, "process_start", lambda _: None)
        with subprocess.Popen([sys.executable, "-c", ""]) as process:
            process.wait()
        assert read(tmp_path, host=HERE, pid=process.pid).state == "interrupted"

    @pytest.mark.parametrize("state", ["finished", "stopped", "failed"])
    def test_an_ended_run_stays_as_it_ended(self, tmp_path: Path, state: str) -> None:
        assert read(tmp_path, host="elsewhere", heartbeat=0.0, state=state).state == state

    def test_a_clock_that_went_back_does_not_make_a_status_unreadable(self, tmp_path: Path) -> None:
        status = read(tmp_path, host="elsewhere", state="finished", heartbeat=-5.0, wall_time_s=-1.0)
        assert (status.state, status.wall_time_s) == ("finished", -1.0)

    @pytest.mark.parametrize("value", [None, True, "x", -5, 10**30, 1e400, float("nan"), [], {}])
    @pytest.mark.parametrize("name", [f.name for f in fields(RunStatus)])
    def test_a_field_of_another_type_raises_nothing(self, tmp_path: Path, name: str, value: object) -> None:
        (tmp_path / "status.json").write_text(json.dumps({"state": "running", "host": HERE} | {name: value}))
        status = RunFolder(tmp_path).status
        assert status.state in STATES
        numbers = (status.heartbeat, status.wall_time_s or 0.0, status.tokens_per_second or 0.0)
        assert isinstance(sum(numbers), float)
        assert isinstance(f"{status.message.upper()}{status.host.upper()}", str)
        assert -1 <= status.last_step < 2**63
        assert 0 <= status.num_steps < 2**63
        assert dict(status.results) == status.results

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (None, sentence("reading.missing")),
            ("{", "is " + sentence("errors.damaged_or_cut_short")),
            ("[]", sentence("recording.object_expected", value="[]")),
            ('{"attempt": "x"}', 'attempt = "x": ' + sentence("errors.whole_number_from") + " 0 to"),
            ('{"last_step": -2}', "last_step = -2: " + sentence("errors.whole_number_from") + " -1 to"),
            ('{"message": 5}', "message = 5: " + sentence("recording.text_of_at_most", most=10000)),
        ],
    )
    def test_a_status_that_cannot_be_read_is_an_interrupted_run(
        self, tmp_path: Path, content: str | None, reason: str
    ) -> None:
        if content is not None:
            (tmp_path / "status.json").write_text(content)
        status = RunFolder(tmp_path).status
        assert status.state == "interrupted"
        assert status.message.startswith(str(tmp_path / "status.json"))
        assert reason in status.message


class TestInfo:
    def test_a_configuration_is_described(self, tmp_path: Path) -> None:
        config = RunConfig().with_setting("balancer.rules", "loss_free").with_setting("training.seed", 3)
        info = run_info_from_config(config, run_id="r", preset="quick", device="cpu")
        assert (info.balancer_family, info.count_scope, info.seed) == ("loss_free", "global_batch", 3)
        assert (info.num_moe_layers, info.num_experts, info.top_k) == (4, 16, 2)
        assert (info.pair_key, info.config_digest) == (config.pair_key, config.digest)
        assert RunConfig.from_dict(info.config) == config
        RunWriter.create(tmp_path, info)
        assert RunFolder(tmp_path / "r").info == info

    def test_it_reads_back_from_its_dictionary(self) -> None:
        info = make_info()
        assert RunInfo.from_dict(info.to_dict()) == info
        assert info.to_dict() == {"format_version": 1, **asdict(info)}

    @pytest.mark.parametrize("run_id", ["", ".a", "-a", "a/b", "a b", "ü", "a" * 101, "..", "a\n"])
    def test_an_id_that_no_url_likes_is_refused(self, run_id: str) -> None:
        with pytest.raises(RunFolderError, match="run_id = "):
            make_info(run_id)


class TestRunId:
    NOW = datetime(2026, 11, 22, 10, 15, 30, tzinfo=UTC)

    def test_it_is_readable(self) -> None:
        name = make_run_id(preset="standard", family="loss_free", seed=0, now=self.NOW)
        assert name[:-6] == "standard-loss_free-seed0-20261122-101530-"
        assert make_run_id(family="none", now=self.NOW)[:-6] == "custom-none-20261122-101530-"

    def test_runs_of_one_second_have_names_of_their_own_before_any_folder_is_there(self) -> None:
        made = {make_run_id(preset="p", family="none", seed=1, now=self.NOW) for _ in range(50)}
        assert len(made) == 50

    def test_a_name_that_a_folder_has_is_not_given_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        drawn = iter(["aaaaaa", "aaaaaa", "bbbbbb"])
        # Not in `secrets` itself: temporary files take their names from there, too.
        own = SimpleNamespace(token_hex=lambda _: next(drawn))
        monkeypatch.setattr("explorer.recording.info.secrets", own)
        first = make_run_id(tmp_path, preset="p", family="none", now=self.NOW)
        RunWriter.create(tmp_path, make_info(first))
        second = make_run_id(tmp_path, preset="p", family="none", now=self.NOW)
        assert (first[-6:], second[-6:]) == ("aaaaaa", "bbbbbb")

    @pytest.mark.parametrize("preset", ["", "../x", "a b/ü", "-", "x" * 300])
    def test_it_is_always_valid(self, preset: str) -> None:
        name = make_run_id(preset=preset, family="a/b", seed=10**30, now=self.NOW)
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name)
        assert name[:-6].endswith("20261122-101530-")
