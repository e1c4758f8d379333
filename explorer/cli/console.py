"""Output on any console: characters outside its encoding are replaced, never an exception.

A Windows console is often cp1252 or cp932, a minimal container is ASCII. A finished run must not fail
over a dash in its table, and a file name may hold bytes that are not UTF-8.
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
"""ASCII replacements for the characters in our messages and tables; others are shown as their code."""


def use_any_encoding() -> None:
    """Let standard output and error print any text in any encoding."""
    codecs.register_error(HANDLER, _replace)
    for stream in (sys.stdout, sys.stderr):
        # A stream replaced by a test or a notebook may lack it.
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
    """Print one sentence on standard error; ignored if the terminal is closed."""
    with suppress(OSError, ValueError):
        print(sentence, file=sys.stderr, flush=True)
