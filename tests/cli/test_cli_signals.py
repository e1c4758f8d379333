"""Ctrl-C, SIGTERM and SIGHUP: one sentence, an exit code that says so, and nobody left behind."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from forked import needs_fork_server, start_training
from ports import free_port
from sentences import sentence
from store_runs import write_run

from explorer.cli import main
from explorer.recording import RunFolder
from explorer.store import Index

ROOT = Path(__file__).resolve().parents[2]
SENTENCE = sentence("cli.interrupted")
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""A server of this machine is asked directly, whatever proxy the environment names."""
pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="signals of POSIX")

INTERRUPTED_IMPORT = """
import os, runpy, signal, sys
class Interrupter:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupter())
sys.argv = ["explorer", *{arguments!r}]
runpy.run_module("explorer", run_name="__main__", alter_sys=True)
"""


ENDLESS_READING = """
import sys
from explorer.cli import main
from explorer.store import ingest

real = ingest.roll_up

def endless(cur, run_id, key):
    real(cur, run_id, key)
    if run_id == "run1":
        print("reading", flush=True)
        cur.execute("SELECT count(*) FROM range(1_000_000_000_000) numbers(n) WHERE n % 7 = 3").fetchall()

ingest.roll_up = endless
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(autouse=True)
def signals_are_heard() -> Iterator[None]:
    """Under `nohup`, or behind `&` in a script, signals are ignored, here and in every child; these tests are
    about signals that are not."""
    before = {
        signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_DFL),
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("explorer.cli", ["schema"]),
        ("explorer.cli.arguments", ["schema"]),
        ("numpy", ["schema"]),
        ("explorer.records.tables", ["schema"]),
        ("polars", ["runs"]),
        ("duckdb", ["ingest"]),
    ],
)
def test_ctrl_c_while_modules_load_leaves_no_traceback(module: str, arguments: list[str]) -> None:
    code = INTERRUPTED_IMPORT.format(module=module, arguments=arguments)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.strip() in ("interrupted", SENTENCE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_whatever_an_interrupted_library_raises_the_signal_is_what_is_said(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(options: object) -> int:
        try:
            os.kill(os.getpid(), number)
        except KeyboardInterrupt:
            # As a database does in whose query the signal fell.
            raise RuntimeError("Query interrupted") from None
        return 0

    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    monkeypatch.setattr("explorer.cli.schema.schema_command", command)
    assert main(["schema"]) == 128 + number
    assert capsys.readouterr().err.strip() == SENTENCE
    assert {one: signal.getsignal(one) for one in before} == before, "put back for whoever called"


def test_an_interrupt_that_a_library_swallows_is_raised_again_and_a_cleanup_is_let_finish(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("explorer.cli.interrupts.AGAIN_S", 0.02)
    handler = signal.getsignal(signal.SIGALRM)
    cleaned: list[int] = []

    def command(options: object) -> int:
        try:
            # As a database does that tries an optional import.
            with suppress(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
            threading.Event().wait(60)
        finally:
            for number in range(5):
                threading.Event().wait(0.03)
                cleaned.append(number)
        return 0

    monkeypatch.setattr("explorer.cli.schema.schema_command", command)
    assert main(["schema"]) == 130
    assert cleaned == [0, 1, 2, 3, 4]
    assert capsys.readouterr().err.strip() == SENTENCE
    assert signal.getsignal(signal.SIGALRM) is handler
    assert signal.getitimer(signal.ITIMER_REAL)[1] != 0.02, "nothing is raised any more"


@pytest.fixture
def alarms() -> Iterator[list[int]]:
    """Alarms that a caller hears: the clock is set to 60 s, then every 7 s."""
    signals: list[int] = []
    handler = signal.signal(signal.SIGALRM, lambda number, frame: signals.append(number))
    timer = signal.setitimer(signal.ITIMER_REAL, 60, 7)
    yield signals
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, *timer)


def test_the_alarm_of_a_caller_is_heard_while_a_command_runs_and_stays_set(
    alarms: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def command(options: object) -> int:
        signal.raise_signal(signal.SIGALRM)
        assert alarms == [signal.SIGALRM]
        return 0

    monkeypatch.setattr("explorer.cli.schema.schema_command", command)
    assert main(["schema"]) == 0
    left, interval = signal.getitimer(signal.ITIMER_REAL)
    assert 0 < left <= 60
    assert interval == 7


def test_an_interrupted_command_gives_the_alarm_back(
    alarms: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def command(options: object) -> int:
        for _ in range(2):
            with suppress(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
        return 0

    monkeypatch.setattr("explorer.cli.schema.schema_command", command)
    assert main(["schema"]) == 0
    assert signal.getitimer(signal.ITIMER_REAL)[0] > 7
    signal.raise_signal(signal.SIGALRM)
    assert alarms == [signal.SIGALRM]


def test_an_alarm_that_was_due_while_an_interrupted_command_cleaned_up_is_not_lost(
    alarms: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def command(options: object) -> int:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        try:
            os.kill(os.getpid(), signal.SIGINT)
        finally:
            threading.Event().wait(0.05)
        return 0

    monkeypatch.setattr("explorer.cli.schema.schema_command", command)
    assert main(["schema"]) == 130
    wait_until(lambda: alarms, "no alarm")


def test_a_signal_that_the_caller_ignores_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `nohup` does with SIGHUP."""

    def command(options: object) -> int:
        os.kill(os.getpid(), signal.SIGHUP)
        return 0

    monkeypatch.setattr("explorer.cli.schema.schema_command", command)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert main(["schema"]) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def wait_until(ready, what: str, timeout_s: float = 90) -> None:
    """The limit only ends a hanging test."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if ready():
            return
        time.sleep(0.05)
    pytest.fail(f"{what} in {timeout_s:.0f} s")


def answers(port: int) -> bool:
    try:
        with DIRECT.open(f"http://127.0.0.1:{port}/_stcore/health", timeout=1):
            return True
    except OSError:
        return False


@contextmanager
def suspended_tab(port: int) -> Iterator[None]:
    """A connection that has asked for more than the buffers of the system hold, and reads nothing."""
    with DIRECT.open(f"http://127.0.0.1:{port}/", timeout=60) as page:
        script = re.search(r'src="[./]*(static/[^"]+[.]js)"', page.read().decode())
    assert script
    request = f"GET /{script[1]} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    with socket.socket() as tab:
        tab.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        tab.connect(("127.0.0.1", port))
        tab.sendall(request * 40)
        assert tab.recv(4) == b"HTTP"
        time.sleep(1)  # Until the buffers are full; a slower server makes the test weaker, never wrong.
        yield


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_app_ends_with_its_launcher_and_frees_the_port(number: signal.Signals, tmp_path: Path) -> None:
    """Also while a suspended tab does not read what it asked for."""
    port = free_port()
    log = tmp_path / "log"
    environment = {
        **os.environ,
        "EXPLORER_SHIPPED_RUNS": str(tmp_path / "nothing"),
        "EXPLORER_INDEX": str(tmp_path / "index.duckdb"),
    }
    command = [sys.executable, "-m", "explorer", "app", "--port", str(port), "--runs", str(tmp_path / "runs")]
    with log.open("wb") as output:
        launcher = subprocess.Popen(
            command,
            cwd=tmp_path,
            env={**environment, "PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        wait_until(lambda: answers(port) or launcher.poll() is not None, "the server did not answer")
        with suspended_tab(port):
            launcher.send_signal(number)
            launcher.wait(60)
        assert not answers(port)
        with socket.socket() as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind(("127.0.0.1", port))
        # Nobody of its group is left: signal 0 asks whether there is anybody.
        with pytest.raises(ProcessLookupError):
            os.killpg(launcher.pid, 0)
        assert launcher.returncode == -signal.SIGTERM
        assert "Traceback" not in log.read_text()
    finally:
        launcher.kill()


@pytest.mark.parametrize("has_answered", [False, True])
def test_the_app_ends_while_it_reads_run_folders_for_the_first_time(
    has_answered: bool, tmp_path: Path
) -> None:
    """The second of many takes for ever: who waited for the reading to end would never end."""
    for number in range(8):
        write_run(tmp_path / "runs", f"run{number}", steps=6)
    port, index, log = free_port(), tmp_path / "index.duckdb", tmp_path / "log"
    command = [
        sys.executable,
        "-c",
        ENDLESS_READING,
        "app",
        "--port",
        str(port),
        "--runs",
        f"{tmp_path}/runs",
    ]
    environment = {
        **os.environ, "EXPLORER_SHIPPED_RUNS": str(tmp_path / "nothing"), "EXPLORER_INDEX": str(index)
    }  # fmt: skip
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
    try:
        wait_until(lambda: b"reading" in log.read_bytes(), "nothing was read")
        if has_answered:
            wait_until(lambda: answers(port), "the server did not answer")
        process.terminate()
        assert process.wait(60) == -signal.SIGTERM
    finally:
        process.kill()
    assert "Traceback" not in log.read_text()
    assert not answers(port)
    if has_answered:
        with Index.open(index) as opened, opened.cursor() as cur:
            assert cur.execute("SELECT run_id, problem FROM runs").fetchall() == [("run0", None)]


@needs_fork_server
def test_a_closed_terminal_stops_a_training_that_can_be_resumed(tmp_path: Path) -> None:
    """Forked; in a process of its own a training is stopped by Ctrl-C in `test_cli.py`."""
    process = start_training(tmp_path, "long", num_steps=100_000)
    try:
        wait_until((tmp_path / "long" / "status.json").exists, "no run")
        wait_until(lambda: RunFolder(tmp_path / "long").status.last_step >= 3, "no step")
        os.kill(process.pid, signal.SIGHUP)
        wait_until(lambda: process.poll() is not None, "the training did not end")
        assert process.poll() == 0, process.output()
    finally:
        process.end(time.monotonic())
        process.hang_up()
        process.release()
    assert RunFolder(tmp_path / "long").status.state == "stopped"
    assert list((tmp_path / "long" / "checkpoints").iterdir())


def test_a_terminated_comparison_stops_its_children_and_keeps_what_they_recorded(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "explorer", "compare", "--preset", "tiny", "--arms", "none"]
    command += ["--plain-ids", "--set", "training.num_steps=100000", "--runs", str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        status = tmp_path / "custom-none-seed0" / "status.json"
        wait_until(status.exists, "no run")
        wait_until(lambda: RunFolder(status.parent).status.last_step >= 3, "no step")
        process.terminate()
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 143
    assert errors.strip() == SENTENCE
    assert output == ""
    assert RunFolder(status.parent).status.state == "stopped"
