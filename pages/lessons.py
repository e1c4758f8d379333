"""A guided course: guess first, then see what was measured."""

from explorer.ui.lessons import page as lessons
from explorer.ui.shared import urls

urls.show_notices("runs")
lessons.view()
