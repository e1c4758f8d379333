"""Which uploads pass: those to the address that Streamlit gave to a session that is connected."""

import re
from collections.abc import Callable

from streamlit import runtime

from explorer.config.server import Settings

ADDRESS = re.compile(r"(?:/[^/]+)*/_stcore/upload_file/([A-Za-z0-9-]{1,100})/[A-Za-z0-9-]{1,100}")
"""Of one file of one session, below any base path."""
METHODS = ("PUT", "DELETE")
MAX_HELD = 6
"""Uploads of all visitors that are in memory or on their way; the Import page frees each as it arrives."""
NO_UPLOADS = "This app takes no uploads."
UNKNOWN = "Uploads go to the address that a page of this app was given."
FULL = "Too many uploads at the moment; try again."


def is_active_session(session_id: str) -> bool:
    """Whether a browser is connected under this id."""
    return runtime.exists() and runtime.get_instance().is_active_session(session_id)


def num_held() -> int:
    """Files that Streamlit holds in memory, of all sessions."""
    if not runtime.exists():
        return 0
    storage = getattr(runtime.get_instance().uploaded_file_mgr, "file_storage", {})
    return sum(len(files) for files in list(storage.values()))


def is_read_only() -> bool:
    """Whether this server only shows runs."""
    return Settings.from_environment().read_only


class UploadRules:
    """What the gate asks about a request that is not for reading."""

    def __init__(
        self,
        is_session: Callable[[str], bool] = is_active_session,
        held: Callable[[], int] = num_held,
        read_only: Callable[[], bool] = is_read_only,
    ) -> None:
        self._is_session, self._held, self._read_only = is_session, held, read_only
        self._on_their_way = 0

    def refusal(self, method: str, path: str) -> str:
        """Why the request may not pass; empty if it may."""
        address = ADDRESS.fullmatch(path)
        if address is None or method not in METHODS or self._read_only():
            return NO_UPLOADS
        if not self._is_session(address[1]):
            return UNKNOWN
        if method == "PUT" and self._held() + self._on_their_way >= MAX_HELD:
            return FULL
        return ""

    def begin(self) -> None:
        """An upload has passed; call `end` when it has been answered."""
        self._on_their_way += 1

    def end(self) -> None:
        """An upload has been answered, whatever became of it."""
        self._on_their_way -= 1


def release(session_id: str, file_id: str) -> None:
    """Delete an uploaded file from Streamlit's memory; the caller has written it to disk."""
    if runtime.exists():
        # Of the manager in memory, which is the only one there is, but not of its base class.
        remove = getattr(runtime.get_instance().uploaded_file_mgr, "remove_file", None)
        if remove is not None:
            remove(session_id, file_id)
