"""Workers that drive browsers and workers that compute, side by side."""

from types import SimpleNamespace
from typing import Any

import pytest
from beside_browsers import BesideBrowsers

BROWSER = [f"tests/browser/test_{letter}.py" for letter in "abcd"]
OTHER = [f"tests/model/test_{letter}.py" for letter in "abcd"]


class Worker:
    """A worker that notes its tests and has run none of them yet."""

    shutting_down = False

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.gateway = SimpleNamespace(id="worker")

    def send_runtest_some(self, numbers: list[int]) -> None:
        self.numbers += numbers

    def shutdown(self) -> None:
        self.shutting_down = True


def scheduled(files: list[str], workers: int) -> list[list[str]]:
    """The files that each worker runs, in its order, when all are equally quick."""
    config: Any = SimpleNamespace(
        getvalue=lambda name: ["popen"] * workers, option=SimpleNamespace(loadscopereorder=False)
    )
    scheduler = BesideBrowsers(config)
    nodes: list[Any] = [Worker() for _ in range(workers)]
    tests = [f"{file}::test" for file in files]
    for node in nodes:
        scheduler.add_node(node)
    for node in nodes:
        scheduler.add_node_collection(node, tests)
    scheduler.schedule()
    for turn in range(len(tests)):
        for node in nodes:
            if turn < len(node.numbers):
                scheduler.mark_test_complete(node, node.numbers[turn])
    return [[files[number] for number in node.numbers] for node in nodes]


def test_two_workers_begin_with_browsers_and_the_third_with_the_rest() -> None:
    first, second, third = scheduled([*BROWSER, *OTHER], workers=3)
    assert set(first[:2]) | set(second[:2]) == set(BROWSER)
    assert third[:2] == OTHER[:2]
    assert sorted(first + second + third) == sorted([*BROWSER, *OTHER])


@pytest.mark.parametrize("files", [BROWSER, OTHER])
def test_a_worker_without_files_of_its_own_kind_takes_the_other_kind(files: list[str]) -> None:
    shares = scheduled(files, workers=3)
    assert sorted(file for share in shares for file in share) == files
    assert all(shares)


def test_peers_are_imported_by_one_worker() -> None:
    peers = [f"tests/parity/test_{letter}.py" for letter in "abc"]
    shares = scheduled([*peers, *OTHER], workers=2)
    assert [share[:3] for share in shares if set(share) & set(peers)] == [peers]
