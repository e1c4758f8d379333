"""A view opened from an address without a browser: the panels that its page would show."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from explorer.export.vega import follows_player
from explorer.figures.arms import Run
from explorer.figures.panel import Missing, Panel, Question, slug
from explorer.figures.store import Store
from explorer.figures.views.replay import HEATMAP
from explorer.figures.views.view import OpenView

if TYPE_CHECKING:
    from explorer.export.film import Film


@dataclass(frozen=True, kw_only=True)
class OpenedView:
    """The panels of an open view, each built on first use. See `export.files.ViewPanels`."""

    view: str
    opened: OpenView
    store: Store
    _answers: dict[str, Panel | Missing] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Title of the page."""
        return self.opened.title

    @property
    def permalink(self) -> str:
        """Path and query that reopen the view."""
        path = "" if self.view == "overview" else self.view
        query = urlencode([(key, one) for key, values in self.opened.query.items() for one in values])
        return f"/{path}" + (f"?{query}" if query else "")

    @property
    def questions(self) -> dict[str, Question]:
        """Key of a panel -> its question; not every question has an answer."""
        return {slug(question.key): question for question in self.opened.questions}

    @property
    def keys(self) -> list[str]:
        """Keys of the panels; asks every question."""
        return list(self.present_keys())

    def present_keys(self) -> Iterator[str]:
        """Keys of the panels, each as soon as its question is answered."""
        return (key for key in self.questions if isinstance(self.answer(key), Panel))

    @property
    def films(self) -> Mapping[str, Callable[[], "Film"]]:
        """The animation of Replay's heatmap."""
        from explorer.export import films  # which loads Pillow

        question = self.questions.get(HEATMAP)
        if question is None:
            return {}
        run: Run = question.arms.arms[0].first
        return {HEATMAP: partial(films.of_layer, self.store, run, question.settings.layer, key=HEATMAP)}

    def answer(self, key: str) -> Panel | Missing:
        """The panel, or why there is none."""
        if key not in self._answers:
            self._answers[key] = self.questions[key].answer(self.store)
        return self._answers[key]

    def get(self, key: str) -> Panel:
        """One panel, with the playhead from the address. Raises KeyError if there is none."""
        panel = self.answer(key)
        if isinstance(panel, Missing):
            raise KeyError(panel.reason)
        playhead = self.opened.playhead
        if panel.playhead is None and playhead is not None and follows_player(panel.spec):
            return replace(panel, playhead=playhead)
        return panel

    def run_ids(self, tokens: Sequence[str] = ()) -> list[str]:
        """Runs of its panels, `tokens` first if given."""
        runs = dict.fromkeys(run.run_id for question in self.opened.questions for run in question.arms.runs)
        return list(tokens) or list(runs)
