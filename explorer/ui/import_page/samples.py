"""Small files in accepted formats, written from a run that comes with the project."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import streamlit as st

from explorer.outward import FORMATS, convert
from explorer.outward.loads import RunLoads
from explorer.ui.server.services import services

STEPS = (0, 3)
"""The first and the last step of a sample."""
FILES = {
    "csv": "sample_loads.csv",
    "parquet": "sample_loads.parquet",
    "vllm-eplb": "sample_eplb_load.jsonl",
    "sglang": "sample_logical_count.json",
    "eplb": "sample_weight.npy",
    "sglang-placement": "sample_placement.json",
}
"""Format of `explorer.outward` -> name of its sample, whose ending helps to detect the format."""


def show_samples() -> None:
    """A button per format; nothing where no run has come with the project."""
    run = _shipped_run()
    if run is None:
        return
    st.markdown(f"Sample files with four steps of the run {run.name}, to show what each format looks like:")
    with st.container(horizontal=True):
        for to, name in FILES.items():
            st.download_button(
                name,
                data=_writer(run, to),
                file_name=name,
                key=f"import_sample_{to}",
                help=FORMATS[to].label,
                icon=":material/download:",
                on_click="ignore",
            )


def sample(run: Path, to: str) -> bytes:
    """The bytes of a sample. Raises ExplorerError and OSError."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / FILES[to]
        convert(RunLoads(run, *STEPS), to, file)
        return file.read_bytes()


def _writer(run: Path, to: str) -> Callable[[], bytes]:
    return lambda: sample(run, to)


def _shipped_run() -> Path | None:
    """The first shipped run by name that has loads."""
    folder = services().settings.shipped_runs
    return next(iter(sorted(path.parent for path in folder.glob("*-loss_free-seed0/run.json"))), None)
