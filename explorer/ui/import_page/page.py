"""The Import page: a file, its format, what it does not say, and the report."""

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from explorer.errors import ExplorerError
from explorer.importers import list_formats
from explorer.recording import RunFolder
from explorer.recording.info import REPLICAS
from explorer.ui.import_page.fields import field_key, labels, show_fields
from explorer.ui.import_page.imported import deletion, show_imported
from explorer.ui.import_page.samples import show_samples
from explorer.ui.server.imports import READ_ONLY, ForeignFile, ImportJob, file_below
from explorer.ui.server.services import services
from explorer.ui.server.uploads import release
from explorer.ui.shared import cached, import_report, links, show, state
from explorer.wording import counted

FILE = state.Slot[ForeignFile | None]("import_file", None)
JOB = state.Slot[ImportJob | None]("import_job", None)
DETECTED = state.Slot[str | None]("import_detected", None)
"""Name of the format that the file seems to have."""
PROBLEM = state.Slot("import_problem", "")
FORM_VALUES = state.Slot[dict[str, str]]("import_form_values", {})
"""Widget -> value of the form while its import runs: Streamlit forgets widgets that are not drawn."""
TURN = state.Slot("import_turn", 0)
"""Uploads so far; each turn has an uploader of its own, which is empty."""
FORMAT = "import_format"
TICK_S = 0.5
MB = 2**20
MAX_LINKS = 20
LISTING_TIMEOUT_S = 10.0


def show_page() -> None:
    """Everything below the title."""
    if services().settings.read_only:
        st.info(READ_ONLY, icon=":material/visibility:")
        return
    st.markdown(
        "Look at the routing of a model that was trained or served elsewhere: SGLang, vLLM, TensorRT-LLM, "
        "Megatron, transformers, llama.cpp, TensorBoard, Weights & Biases, or a table of your own. The "
        "format is detected; the report says what was assumed, what was left out, and what does not add up."
    )
    with st.expander("Formats and samples", icon=":material/list:"):
        show_samples()
        with st.container(key="formats"):
            st.markdown("\n".join(f"- {show.plain(label)}" for label in labels(list_formats()).values()))
    job = JOB.get()
    if job is not None:
        if job.is_open:
            st.fragment(_job, run_every=TICK_S)(job)
        else:  # a button in a fragment would draw the fragment again, not the page that it leads to
            _job(job)
        return
    file = FILE.get()
    if file is None:
        _choose_file()
        show_imported()
    else:
        _form(file)


def _choose_file() -> None:
    """An upload, or a path below the folder of the host."""
    settings = services().settings
    turn = TURN.get()
    upload = st.file_uploader(
        "File to import",
        key=f"import_upload_{turn}",
        max_upload_size=settings.limits.upload_mb,
        help="Deleted as soon as it is imported, or when you leave. A trace of several ranks is a folder: "
        "import it with python -m explorer import.",
    )
    if upload is not None:
        _take_upload(upload)
    if settings.import_dir is not None:
        with st.form("import_path_form", border=False):
            text = st.text_input(
                "Or a path on this host",
                key="import_path",
                placeholder="traces/moe_routes.jsonl",
                help="A file, or a folder with the files of one trace, relative to the folder that the host "
                "has opened for imports.",
            )
            if st.form_submit_button("Open", icon=":material/folder_open:"):
                try:
                    _take(file_below(settings.import_dir, text))
                except ExplorerError as error:
                    _error(str(error))


def _take_upload(upload: Any) -> None:
    """Move an upload from Streamlit's memory to the disk."""
    context = get_script_run_ctx()
    try:
        if upload.size > services().settings.limits.upload_mb * MB:
            _error(f"{upload.name}: is larger than {services().settings.limits.upload_mb} MB; import it with "
                   "python -m explorer import.")  # fmt: skip
            return
        if not upload.size:
            _error(f"{upload.name}: is empty; check what wrote it.")
            return
        file = ForeignFile.of_upload(upload.name, upload.getbuffer())
    except OSError as error:
        _error(f"{upload.name}: cannot be kept ({error.strerror}); try again.")
        return
    finally:
        if context is not None:
            release(context.session_id, upload.file_id)
    TURN.put(TURN.get() + 1)
    _take(file)


def _take(file: ForeignFile) -> None:
    """Detect the format of a file and show the form for it."""
    with st.spinner("Detecting the format…"):
        try:
            DETECTED.put(services().imports.detect(file))
            PROBLEM.take()
        except ExplorerError as error:
            DETECTED.put(None)
            PROBLEM.put(str(error))
    FILE.put(file)
    state.forget(FORMAT)
    st.rerun()


def _form(file: ForeignFile) -> None:
    """Format and options of the chosen file, and the button."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f":material/description: **{show.plain(file.name)}**", width="content")
        st.button("Choose another file", on_click=_forget, icon=":material/close:", type="tertiary")
    forms = {form.name: form for form in list_formats()}
    names = labels(list(forms.values()))
    detected = DETECTED.get()
    if not state.has(FORMAT):
        state.put(FORMAT, detected)
    name = st.selectbox(
        "Format" if detected is None else "Format (detected)",
        list(names),
        index=None,
        key=FORMAT,
        format_func=lambda name: names.get(name, name),
        placeholder="Choose a format",
    )
    if name is not None:
        values = show_fields(forms[name])
        if st.button("Import", key="import_start", type="primary", icon=":material/upload_file:"):
            _start(file, name, values)
    if problem := PROBLEM.get():
        _error(problem)


def _start(file: ForeignFile, form: str, values: dict[str, str]) -> None:
    try:
        JOB.put(services().imports.start(file, form, values))
        FORM_VALUES.put({FORMAT: form, **{field_key(name): value for name, value in values.items()}})
        PROBLEM.take()
    except ExplorerError as error:
        PROBLEM.put(str(error))
    st.rerun()


def _forget() -> None:
    """Delete the upload and begin anew."""
    file = FILE.take()
    if file is not None:
        file.delete()
    for slot in (JOB, DETECTED, PROBLEM, FORM_VALUES):
        slot.take()
    state.forget(FORMAT)


def _job(job: ImportJob) -> None:
    """Progress while the child reads, then its report; a failure leads back to the form."""
    if job.is_open:
        done, total = job.progress()
        words = f"{done / MB:,.1f} of {total / MB:,.1f} MB read" if total else "starting"
        st.progress(
            min(1.0, done / total) if total else 0.0, text=f"**{show.plain(job.file.name)}** · {words}"
        )
        st.button("Cancel", on_click=job.child.cancel, icon=":material/stop:")
        return
    if job.problem:
        JOB.take()
        PROBLEM.put(job.problem)
        state.put_all(FORM_VALUES.take())
        st.rerun()
    if FILE.take() is not None:
        # The upload is deleted by now; draw the page once more, without the clock.
        services().ingest.wake()
        st.rerun()
    _results(job)


def _results(job: ImportJob) -> None:
    if problem := PROBLEM.take():
        _error(problem)
    if not job.results:
        st.info("The imported run is deleted.", icon=":material/delete:")
        st.button("Import another file", on_click=_forget, icon=":material/add:")
        return
    st.success(show.plain(f"{counted(len(job.results), 'run')} imported from {job.file.name}."),
               icon=":material/check:")  # fmt: skip
    with st.spinner("Reading the imported runs…"):
        _wait_until_listed([result["run_id"] for result in job.results])
    for result in job.results[:MAX_LINKS]:
        with st.container(border=True):
            _one_result(result)
            deletion(result["run_id"], partial(_delete, job))
    if len(job.results) > MAX_LINKS:
        show.note(f"and {counted(len(job.results) - MAX_LINKS, 'further run')}; choose them in Replay.")
    st.button("Import another file", on_click=_forget, icon=":material/add:")


def _wait_until_listed(run_ids: Sequence[str]) -> None:
    """Until the index knows the runs, so that a link to them leads there; not for longer than a moment."""
    end = time.monotonic() + LISTING_TIMEOUT_S
    while len(cached.run_rows(run_ids)) < len(run_ids) and time.monotonic() < end:
        services().ingest.wake()
        time.sleep(0.1)


def _one_result(result: dict[str, Any]) -> None:
    try:
        info = RunFolder(result["path"]).info
    except ExplorerError as error:  # somebody has deleted it in the meantime
        _error(str(error))
        return
    st.markdown(f"**{show.plain(info.name)}** · {show.plain(info.run_id)}")
    if info.num_moe_layers and info.unit != REPLICAS:
        links.page("replay", "Open in Replay", run=result["run_id"])
    else:
        links.page("compare", "Open in Compare", runs=result["run_id"])
    entries = import_report.checked(result["report"])
    import_report.show_entries(entries)


def _delete(job: ImportJob, run_id: str) -> None:
    try:
        services().imports.delete_run(job, run_id)
    except ExplorerError as error:
        PROBLEM.put(str(error))
    services().ingest.wake()


def _error(sentence: str) -> None:
    st.error(show.plain(import_report.in_page_words(sentence)), icon=":material/error:")
