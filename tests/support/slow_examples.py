"""Fewer random examples for a property whose examples take a tenth of a second or more."""

from hypothesis import settings

slow_examples = settings(max_examples=max(5, settings.default.max_examples // 2))
"""Half of what the profile tries. Such a property spells out its edge cases as `@example`."""
