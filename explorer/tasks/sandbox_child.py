"""The program that `explorer.tasks.sandbox` starts: lock this process down, then run the code of one job.

Run as a script by an isolated interpreter, it imports nothing of the project. A job is one JSON object on
standard input, answers are JSON lines on standard output. The order is what protects: modules that the code
may use are loaded, namespaces are entered where the system allows it, limits are set, then a seccomp filter
that only allows computing, allocating memory and answering; the filter is tried out, and only then is the
code compiled and run.
"""

import ctypes
import errno
import importlib
import json
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

MEGABYTE = 2**20
MOST_TEXT = 10_000
"""Characters of a value's `repr` that are sent back."""

# prctl(2), seccomp(2), unshare(2), mount(2)
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
KILL_PROCESS, ALLOW, REFUSE = 0x8000_0000, 0x7FFF_0000, 0x0005_0000 | errno.EPERM
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
OFFSET_OF_CALL, OFFSET_OF_ARCHITECTURE = 0, 4
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x0002_0000, 0x0400_0000, 0x0800_0000
CLONE_NEWUSER, CLONE_NEWNET = 0x1000_0000, 0x4000_0000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_REC, MS_PRIVATE, MNT_DETACH = 0x4000, 0x4_0000, 2

# What an interpreter needs to compute: no call here opens, connects, starts or signals anything.
X86_64 = {
    "read": 0, "write": 1, "close": 3, "fstat": 5, "lseek": 8, "mmap": 9, "mprotect": 10, "munmap": 11,
    "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "mremap": 25, "madvise": 28,
    "getpid": 39, "exit": 60, "gettimeofday": 96, "getrusage": 98, "sigaltstack": 131, "time": 201,
    "futex": 202,
    "clock_gettime": 228, "clock_getres": 229, "exit_group": 231, "set_robust_list": 273, "getrandom": 318,
    "rseq": 334,
}  # fmt: skip
AARCH64 = {
    "close": 57, "lseek": 62, "read": 63, "write": 64, "fstat": 80, "exit": 93, "exit_group": 94, "futex": 98,
    "set_robust_list": 99, "clock_gettime": 113, "clock_getres": 114, "sigaltstack": 132, "rt_sigaction": 134,
    "rt_sigprocmask": 135, "rt_sigreturn": 139, "getrusage": 165, "gettimeofday": 169, "getpid": 172,
    "brk": 214, "munmap": 215, "mremap": 216, "mmap": 222, "mprotect": 226, "madvise": 233, "getrandom": 278,
    "rseq": 293,
}  # fmt: skip
ARCHITECTURES = {"x86_64": (0xC000_003E, 155, X86_64), "aarch64": (0xC000_00B7, 41, AARCH64)}
"""Machine -> number of the architecture in <linux/audit.h>, of pivot_root, and of the allowed calls."""


class Refusal(Exception):
    """The reason why nothing may be run here."""


class Instruction(ctypes.Structure):
    """struct sock_filter of <linux/filter.h>."""

    _fields_ = (
        ("code", ctypes.c_uint16),
        ("if_true", ctypes.c_uint8),
        ("if_false", ctypes.c_uint8),
        ("value", ctypes.c_uint32),
    )


class Program(ctypes.Structure):
    """struct sock_fprog of <linux/filter.h>."""

    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(Instruction)))


def filter_instructions(architecture: int, allowed: list[int]) -> list[tuple[int, int, int, int]]:
    """(code, jump if true, jump if false, value): allow these calls, refuse others with EPERM.

    A call of another architecture, whose numbers mean other things, ends the process.
    """
    checks = [
        (JUMP_IF_EQUAL, len(allowed) - place, 0, number) for place, number in enumerate(sorted(allowed))
    ]
    return [
        (LOAD_WORD, 0, 0, OFFSET_OF_ARCHITECTURE),
        (JUMP_IF_EQUAL, 1, 0, architecture),
        (RETURN, 0, 0, KILL_PROCESS),
        (LOAD_WORD, 0, 0, OFFSET_OF_CALL),
        *checks,
        (RETURN, 0, 0, REFUSE),
        (RETURN, 0, 0, ALLOW),
    ]


def called(result: int, name: str) -> None:
    """Raise OSError for a failed call of the C library."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def enter_namespaces(libc: Any, pivot_root: int, mount_point: str) -> None:
    """Leave the network, the file system and the host's names behind; OSError where this is forbidden.

    The new root is an empty file system of no size. No process namespace: the filter allows neither new
    processes nor signals.
    """
    user, group = os.getuid(), os.getgid()
    spaces = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS
    called(libc.unshare(spaces), "unshare")
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        Path("/proc/self", name).write_text(text, encoding="ascii")
    called(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "mount")
    flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
    called(
        libc.mount(b"none", os.fsencode(mount_point), b"tmpfs", flags, b"size=4k,nr_inodes=2,mode=0500"),
        "mount",
    )
    os.chdir(mount_point)
    called(libc.syscall(pivot_root, b".", b"."), "pivot_root")
    called(libc.umount2(b".", MNT_DETACH), "umount2")
    called(libc.mount(None, b"/", None, flags | MS_REMOUNT | MS_RDONLY, None), "mount")
    os.chdir("/")
    if entries := list(Path("/").iterdir()):
        raise OSError(errno.ENOTEMPTY, f"the new root holds {entries[:3]}")


def set_limits(job: dict[str, Any]) -> None:
    """No new processes, files or core dumps; processor time and memory as the job says."""
    # First SIGXCPU, which says why; a second later SIGKILL, in case that was caught.
    resource.setrlimit(resource.RLIMIT_CPU, (job["cpu_seconds"], job["cpu_seconds"] + 1))
    values = {
        resource.RLIMIT_AS: job["memory_mb"] * MEGABYTE,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    for kind, value in values.items():
        resource.setrlimit(kind, (value, value))


def apply_filter(libc: Any, architecture: int, allowed: list[int]) -> None:
    """Install the filter for the rest of this process. Raises Refusal where the kernel has none."""
    listed = filter_instructions(architecture, allowed)
    instructions = (Instruction * len(listed))(*(Instruction(*one) for one in listed))
    program = Program(len(listed), instructions)
    try:
        called(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
        called(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0), "prctl")
    except OSError as error:
        raise Refusal(f"this system has no seccomp filters ({error.strerror})") from error


def try_out() -> None:
    """Raises Refusal unless files and sockets are refused now."""
    import _socket  # loaded before, in `main`

    for name, attempt in (
        ("files", lambda: os.open("/", os.O_RDONLY)),
        ("sockets", lambda: _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)),
    ):
        with suppress(PermissionError):
            attempt()
            raise Refusal(f"its seccomp filters do not keep {name} away")


def lock_down(job: dict[str, Any]) -> list[str]:
    """Take away everything but computing; the names of the protections in force. Raises Refusal."""
    if job["machine"] not in ARCHITECTURES:
        raise Refusal(f"there is no list of harmless system calls for {job['machine']}")
    architecture, pivot_root, calls = ARCHITECTURES[job["machine"]]
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mount.argtypes = [ctypes.c_char_p] * 3 + [ctypes.c_ulong, ctypes.c_char_p]
    libc.prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong]
    protections = []
    if job["namespaces"]:
        with suppress(OSError):
            enter_namespaces(libc, pivot_root, job["mount_point"])
            protections.append("namespaces")
    set_limits(job)
    apply_filter(libc, architecture, list(calls.values()))
    try_out()
    return [*protections, "seccomp"]


def perform(job: dict[str, Any]) -> dict[str, Any]:
    """Run the code, then call the function on each list of arguments; `repr` of the results."""
    try:
        names: dict[str, Any] = {"__name__": "completion"}
        exec(compile(job["code"], "<completion>", "exec"), names)
        values = []
        for arguments in job["arguments"]:
            values.append(repr(names[job["function"]](*arguments))[:MOST_TEXT])
    except BaseException as error:
        try:
            text = f"{type(error).__name__}: {error}"[:MOST_TEXT]
        except BaseException:
            text = "an error that cannot be printed"
        return {"status": "failed", "error": text}
    return {"status": "finished", "values": values}


def main() -> None:
    job = json.loads(sys.stdin.buffer.read())
    answers = os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    os.close(nowhere)

    def answer(message: dict[str, Any]) -> None:
        os.write(answers, json.dumps(message).encode() + b"\n")

    for name in ("_socket", *job["preload"]):
        importlib.import_module(name)
    b"", b"".decode("latin-1")  # codecs are loaded on first use
    try:
        protections = lock_down(job)
    except (Refusal, OSError, ValueError) as refusal:
        answer({"status": "refused", "error": str(refusal)})
        return
    answer({"protections": protections})
    answer(perform(job))
    os._exit(0)


if __name__ == "__main__":
    main()
