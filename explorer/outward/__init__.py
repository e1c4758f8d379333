"""A run's loads in the file formats of other systems: `python -m explorer convert`.

`explorer.importers` reads every one of these files back with the same numbers.
"""

from explorer.outward.convert import convert
from explorer.outward.formats import FORMATS

__all__ = ["FORMATS", "convert"]
