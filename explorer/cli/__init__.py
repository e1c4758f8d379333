"""The command line: `python -m explorer train | compare | runs | app | ingest | schema | export | verify`.

A wrong input is one sentence on standard error and exit code 2. With `--json`, standard output is
JSON and nothing else. Heavy libraries are loaded by the command that needs them.
"""

import sys
from collections.abc import Sequence

from explorer.cli.arguments import make_parser
from explorer.errors import ExplorerError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (0 done, 1 `verify` differs, 2 bad input, 130 interrupted)."""
    options = make_parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except ExplorerError as error:
        print(f"explorer {options.name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; what was recorded can be read", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of a pipe went away (`… | head`): nothing to say, nobody to say it to.
        sys.stderr.close()
        return 0
