"""The questions of the Serving page: load by window, hot set, placement with its verdict, batch selection."""
