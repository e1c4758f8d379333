"""The configuration of a run as frozen dataclasses, with checks of every field."""
