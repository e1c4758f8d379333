"""Files of one view, opened by a page or by a command."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from explorer.export import bundle, data, figures
from explorer.export.converters import Converters
from explorer.export.provenance import Provenance, run_ids
from explorer.export.settings import FigureSettings
from explorer.figures.panel import Panel

if TYPE_CHECKING:
    from explorer.export.film import Film

MOST_OF_RUNS = 300
"""Maximum length of the run ids in a figure's footer; further ones are left out."""

RunRows = Callable[[Sequence[str]], Sequence[Mapping[str, Any]]]
"""Run ids -> rows of the table `runs`, in their order."""


class ViewPanels(Protocol):
    """The panels of an open view."""

    @property
    def title(self) -> str:
        """Title of the page."""

    @property
    def view(self) -> str:
        """Name of the page: compare."""

    @property
    def permalink(self) -> str:
        """Path and query that reopen the view, below the app's address."""

    @property
    def keys(self) -> list[str]:
        """Keys of the exportable panels, in page order."""

    @property
    def films(self) -> Mapping[str, Callable[[], "Film"]]:
        """Animations by the key of their panel."""

    def get(self, key: str) -> Panel:
        """One panel in its current state."""


def figure(view: ViewPanels, key: str, kind: str, settings: FigureSettings) -> bytes:
    """A chart in one of the formats of `export.settings.FORMATS`."""
    panel = view.get(key)
    runs = ", ".join(run_ids([panel]))
    footer = f"MoE Routing Explorer · {view.permalink}" + (f" · {runs}" if len(runs) <= MOST_OF_RUNS else "")
    return figures.render(panel, kind, settings, footer)


def table(view: ViewPanels, key: str, kind: str) -> bytes:
    """The data behind a chart, in one of the formats of `export.settings.TABLES`."""
    return data.table(view.get(key), kind)


def animation(view: ViewPanels, key: str, settings: FigureSettings) -> bytes:
    """The animation of a panel as a GIF."""
    from explorer.export import film  # which loads Pillow

    return film.gif(view.films[key](), dark=settings.dark)


def zipped(
    view: ViewPanels,
    keys: Iterable[str],
    settings: FigureSettings,
    run_rows: RunRows,
    converters: Converters | None = None,
) -> bytes:
    """The bundle of these panels, each drawn while the next one is built.

    converters: see `bundle.make`.
    """
    failed: list[str] = []

    def panels() -> Iterator[Panel]:
        for key in keys:
            try:
                yield view.get(key)
            except Exception as error:  # the others can still be exported
                failed.append(f"{key}: the figure could not be built ({error})")

    def provenance(built: Sequence[Panel]) -> Provenance:
        rows = tuple(run_rows(run_ids(built)))
        return Provenance(view=view.view, title=view.title, permalink=view.permalink, runs=rows)

    return bundle.make(panels(), provenance, settings, failed, converters)
