"""A run's loads in the file formats of other systems: `python -m explorer convert`.

`explorer.importers` reads every one of these files back with the same numbers.
"""

from explorer.outward.convert import FORMATS, convert

__all__ = ["FORMATS", "convert"]
