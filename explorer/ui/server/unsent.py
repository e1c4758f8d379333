"""What waits to be sent when a fragment runs again: all of it is sent, in its order."""

from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime import app_session
from streamlit.runtime.forward_msg_queue import ForwardMsgQueue


class UnsentMessages(ForwardMsgQueue):
    """The messages of one session that the server has not sent yet. Mutable: used by its event loop alone.

    When a fragment runs again, Streamlit takes the fragment's elements out of the queue and leaves those that
    stand inside or behind them: fragments within this one, and elements that the browser knows already and
    that are sent as a reference. They name places that the browser does not have; it raises "Bad delta path
    index" while it renders, and React takes the whole page away. A busy server meets this in a page that
    ticks: the run of a tick is still waiting to be sent when the next one begins.
    """

    def clear(
        self, retain_lifecycle_msgs: bool = False, fragment_ids_this_run: list[str] | None = None
    ) -> None:
        """Forget what waits, unless a fragment runs again: its new elements then follow the old ones.

        A run of the whole page (`fragment_ids_this_run` None) sends every element again, so that what it
        forgets leaves no gap.
        """
        if not fragment_ids_this_run:
            super().clear(retain_lifecycle_msgs, fragment_ids_this_run)
            return
        waiting: list[ForwardMsg] = self.flush()
        # One by one the elements would be merged into those of the run before, which may have other parents.
        self._queue.extend(waiting)


def keep_unsent_messages() -> None:
    """Let the sessions that begin from now on use `UnsentMessages`. Streamlit has no setting for this."""
    app_session.ForwardMsgQueue = UnsentMessages  # type: ignore[attr-defined]
