"""Code that a model wrote can compute and nothing else; where that cannot be enforced, nothing is run."""

import os
import sys
from pathlib import Path

import pytest
from sentences import pattern

from explorer.errors import SandboxError
from explorer.tasks import sandbox
from explorer.tasks.sandbox import FAILED, FINISHED, TIMED_OUT, Limits, Outcome, run_code

AVAILABLE = sandbox.unavailable() == ""
confined = pytest.mark.skipif(not AVAILABLE, reason=sandbox.unavailable())
SHORT = Limits(cpu_seconds=1, seconds=5)
both_modes = pytest.mark.parametrize("namespaces", [True, False], ids=["namespaces", "seccomp_alone"])


def run(code: str, namespaces: bool = True, **more: object) -> Outcome:
    return run_code(code, namespaces=namespaces, limits=SHORT, **more)  # type: ignore[arg-type]


def test_linux_on_a_known_machine_can_confine_code() -> None:
    """A container may forbid namespaces, but none of the usual ones forbids seccomp."""
    if sys.platform == "linux" and os.uname().machine in ("x86_64", "aarch64"):
        assert AVAILABLE, sandbox.unavailable()


@confined
@both_modes
def test_results_come_back(namespaces: bool) -> None:
    outcome = run(
        "import math\ndef f(x):\n    return math.floor(x) + 1",
        namespaces,
        function="f",
        arguments=[[1.5], [41]],
    )
    assert (outcome.status, outcome.values) == (FINISHED, ("2", "42"))
    assert outcome.protections[-1] == "seccomp"
    assert "namespaces" not in outcome.protections or namespaces


REFUSED = {
    "network": ("import socket\nsocket.socket().connect(('127.0.0.1', 9))", "socket"),
    "socket_pair": ("import socket\nsocket.socketpair()", "socket"),
    "reading": (f"open({__file__!r}).read()", ""),
    "listing": ("import os\nos.listdir('/')", ""),
    "writing": ("open('/tmp/left-behind', 'w')", ""),
    "memory_file": ("import os\nos.memfd_create('x')", ""),
    "fork": ("import os\nos.fork()", ""),
    "program": ("import subprocess\nsubprocess.run(['true'])", "subprocess"),
    "exec": ("import os\nos.execv('/bin/true', ['true'])", ""),
    "thread": ("import _thread\n_thread.start_new_thread(print, ())", ""),
    "signal": ("import os\nos.kill(os.getppid(), 9)", ""),
}


@confined
@both_modes
@pytest.mark.parametrize("name", REFUSED)
def test_what_reaches_out_of_the_process_is_refused(name: str, namespaces: bool) -> None:
    code, module = REFUSED[name]
    outcome = run(code, namespaces, preload=(*sandbox.PRELOAD, *filter(None, [module])))
    assert outcome.status == FAILED
    assert "not permitted" in outcome.error or "can't start new thread" in outcome.error


@confined
def test_a_system_call_by_number_is_refused() -> None:
    code = (
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        "def f():\n    return libc.socket(2, 1, 0), libc.fork(), ctypes.get_errno()"
    )
    assert run(code, preload=("ctypes",), function="f", arguments=[[]]).values == ("(-1, -1, 1)",)


@confined
def test_an_endless_loop_is_ended() -> None:
    outcome = run("while True:\n    pass")
    assert (outcome.status, outcome.values) == (TIMED_OUT, ())


@confined
def test_endless_waiting_is_ended() -> None:
    code = "import _thread\nlock = _thread.allocate_lock()\nlock.acquire()\nlock.acquire()"
    assert run_code(code, limits=Limits(seconds=1)).status == TIMED_OUT


@confined
@pytest.mark.parametrize("code", ["bytearray(10**9)", "x = []\nwhile True:\n    x.append('a' * 10**6)"])
def test_large_memory_is_refused(code: str) -> None:
    assert run(code).error.startswith("MemoryError")


@confined
@pytest.mark.parametrize(
    "code",
    ["import os\nos._exit(0)", "raise SystemExit", "1 / 0", "def g(): g()\ng()", "x = (", "f = 3"],
    ids=["exit", "raised_exit", "error", "recursion", "syntax", "not_a_function"],
)
def test_code_that_ends_without_a_result_has_failed(code: str) -> None:
    outcome = run(code, function="f", arguments=[[]])
    assert (outcome.status, outcome.values) == (FAILED, ())


@confined
def test_made_up_answers_are_no_verdict() -> None:
    """The code may reach the pipe, but does not know which results are expected."""
    code = "import os\nfor fd in range(3, 20):\n    try: os.write(fd, b'{]\\n')\n    except OSError: pass"
    assert run(code, function="f", arguments=[[]]).status == FAILED


@confined
def test_printing_is_swallowed_and_results_are_bounded() -> None:
    outcome = run("print('x' * 10**6)\ndef f():\n    return 'x' * 10**6", function="f", arguments=[[]])
    assert outcome.status == FINISHED
    assert len(outcome.values[0]) == 10_000


@confined
def test_nothing_of_this_process_is_inherited(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SECRET", "word")
    with (tmp_path / "open").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        code = f"import os\ndef f():\n    return dict(os.environ), os.write({file.fileno()}, b'x')"
        outcome = run(code, function="f", arguments=[[]])
    assert outcome.error.startswith("OSError: [Errno 9]")
    assert (
        "SECRET"
        not in run("import os\ndef f():\n    return list(os.environ)", function="f", arguments=[[]]).values[0]
    )


def test_a_machine_without_a_list_of_calls_runs_nothing() -> None:
    with pytest.raises(SandboxError, match=pattern("tasks.sandbox_unavailable")):
        run_code("1", machine="mips")


def test_another_system_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox.sys, "platform", "darwin")
    monkeypatch.setattr(sandbox, "_talk", lambda *_: pytest.fail("a process was started"))
    with pytest.raises(SandboxError, match=pattern("tasks.sandbox_unavailable")):
        run_code("1")


def test_a_process_that_does_not_start_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_talk", lambda *_: ([], "SIGSYS"))
    with pytest.raises(SandboxError, match=pattern("tasks.sandbox_unavailable")):
        run_code("1")
