"""Run folders: the writer for any training loop, and the readers.

`docs/run_format.md` is the format. Needs numpy, polars and msgspec only.
"""

from explorer.recording.checksums import check_file
from explorer.recording.files import atomic_write_json, read_json
from explorer.recording.hooks import RouterWatch, watch
from explorer.recording.info import RunInfo, make_run_id, run_info_from_config
from explorer.recording.lightning_callback import lightning_callback
from explorer.recording.listing import RunListing, list_runs
from explorer.recording.loop import Recorder
from explorer.recording.parts import Attempt, Part
from explorer.recording.reader import RunFolder, Snapshot, read_part
from explorer.recording.schema import SCHEMAS
from explorer.recording.status import RunStatus
from explorer.recording.trainer_callback import trainer_callback

__all__ = [
    "SCHEMAS",
    "Attempt",
    "Part",
    "Recorder",
    "RouterWatch",
    "RunFolder",
    "RunInfo",
    "RunListing",
    "RunStatus",
    "Snapshot",
    "atomic_write_json",
    "check_file",
    "lightning_callback",
    "list_runs",
    "make_run_id",
    "read_json",
    "read_part",
    "run_info_from_config",
    "trainer_callback",
    "watch",
]
