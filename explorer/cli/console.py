"""Output on any console: a character that it does not know is replaced, never an exception.

A Windows console is often cp1252 or cp932, a minimal container is ASCII. A finished training must not be lost
over the dash in its table, and a file name may hold bytes that are no UTF-8 at all.
"""

import codecs
import sys
from contextlib import suppress

HANDLER = "explorer.plain"
PLAIN = {
    "–": "-",
    "—": "-",
    "−": "-",
    "…": "...",
    "±": "+-",
    "×": "x",
    "·": "*",
    "“": '"',
    "”": '"',
    "’": "'",
    "α": "alpha",
}
"""What our own sentences and tables use, in ASCII; everything else is shown as its code."""


def use_any_encoding() -> None:
    """Let standard output and error print every text, whatever their encoding is."""
    codecs.register_error(HANDLER, _replace)
    for stream in (sys.stdout, sys.stderr):
        # A stream that a test or a notebook put there may not have it.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors=HANDLER)


def _replace(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letter = error.object[error.start]
    if letter in PLAIN:
        return PLAIN[letter], error.start + 1
    one = UnicodeEncodeError(error.encoding, error.object, error.start, error.start + 1, error.reason)
    return codecs.backslashreplace_errors(one)


def say(sentence: str) -> None:
    """One sentence on standard error; a terminal that was closed does not hear it."""
    with suppress(OSError, ValueError):
        print(sentence, file=sys.stderr, flush=True)
