"""Which worker runs the next file of tests: browsers often wait, and the rest computes meanwhile."""

from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

BROWSERS = 2
"""Workers that start with files of `tests/browser`. The others begin with other files, and each kind helps
the other when its own files have run out."""

PARITY = "tests/parity"


def drives_browser(scope: str) -> bool:
    """Whether this file's tests drive a browser."""
    return scope.startswith("tests/browser/")


class BesideBrowsers(LoadFileScheduling):
    """File by file in the order of the collection, browser files for the first workers."""

    def _split_scope(self, nodeid: str) -> str:
        """The file, or `tests/parity` as a whole: importing the peers takes seconds, once is enough."""
        return PARITY if nodeid.startswith(f"{PARITY}/") else super()._split_scope(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        """The first waiting file of the kind that this worker prefers is the next one."""
        wants_browser = node in self.nodes[:BROWSERS]
        for scope in self.workqueue:
            if drives_browser(scope) == wants_browser:
                self.workqueue.move_to_end(scope, last=False)
                break
        super()._assign_work_unit(node)
