"""What leaves the app: figures, the data behind them, and bundles of both with their provenance."""
