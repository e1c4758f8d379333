"""`python -m explorer`."""

import sys

if __name__ == "__main__":
    try:
        from explorer.cli import main
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted\n")
        sys.exit(130)
    sys.exit(main())
