"""A run's configuration as frozen dataclasses, with validation of every field."""
