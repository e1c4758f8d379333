"""A heatmap of loads on a canvas: files get the chart of `explorer.charts.heatmaps`."""

from explorer.ui.components.load_map.component import Cell, load_map
from explorer.ui.components.load_map.payload import LoadMap, load_map_of, rank_map_of

__all__ = ["Cell", "LoadMap", "load_map", "load_map_of", "rank_map_of"]
