"""A guided course: guess first, then see what was measured."""

from explorer.ui import lessons, urls

urls.show_notices("runs")
lessons.view()
