"""The command line: `python -m explorer train | compare | runs | app | ingest | schema | export | verify |
diagnose | import | convert | evaluate | experiment`.

Invalid input gives one sentence on standard error and exit code 2. With `--json`, standard output is
only JSON. Heavy libraries are loaded by the command that needs them. A traceback is always a bug.
"""

import errno
import re
import sys
from collections.abc import Sequence

from explorer.cli.console import say, use_any_encoding
from explorer.cli.extras import missing_library
from explorer.cli.interrupts import Interrupts
from explorer.errors import ExplorerError, shortened, value_text

ENVIRONMENT = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EIO,
    errno.ENAMETOOLONG,
    errno.ENOTDIR,
    errno.ELOOP,
    errno.EMFILE,
    errno.ENOMEM,
)
"""System errors that are not caused by the program; any other OSError is a bug."""

OVERLONG = re.compile(r"\S{1000,}")
"""Words too long for any real name or path, which messages truncate."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    0 done, 1 `verify` found a difference, 2 bad input, 128 + the signal if interrupted.
    """
    use_any_encoding()
    code = 0
    with Interrupts() as interrupts:
        try:
            code = _run(arguments, interrupts)
        except BrokenPipeError:
            # The reader of the pipe is gone (`… | head`), so there is nothing to report.
            sys.stderr.close()
        except BaseException as error:
            if not interrupts.received and not isinstance(error, KeyboardInterrupt):
                raise
            say("\ninterrupted; everything recorded so far is readable")
            code = interrupts.exit_code
    return code


def _run(arguments: Sequence[str] | None, interrupts: Interrupts) -> int:
    command = "explorer"
    try:
        # Imported here: loading the parser takes a moment, in which Ctrl-C must be handled.
        from explorer.cli.arguments import check_text, make_parser

        options = make_parser().parse_args(arguments)
        command = f"explorer {options.name}"
        check_text(options)
        return int(options.command(options))
    except BrokenPipeError:
        raise
    except (ExplorerError, ModuleNotFoundError, OSError) as error:
        sentence = _sentence(error)
        if sentence is None or interrupts.received:
            raise
    say(f"{command}: {OVERLONG.sub(lambda word: shortened(word[0]), sentence)}")
    return 2


def _sentence(error: Exception) -> str | None:
    """Message for an error that the user can fix; None for a bug, which keeps its traceback."""
    if isinstance(error, ModuleNotFoundError):
        missing = missing_library(error)
        return None if missing is None else str(missing)
    if isinstance(error, OSError):
        if error.errno not in ENVIRONMENT:
            return None
        place = "" if error.filename is None else f"{value_text(str(error.filename))}: "
        return f"{place}{error.strerror}; check the path, its permissions and the free space."
    return str(error)
