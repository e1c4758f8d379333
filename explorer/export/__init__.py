"""Exports: figures, their data, and bundles of both with their provenance."""
