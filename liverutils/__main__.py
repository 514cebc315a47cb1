"""`python -m liverutils` is the command `liverutils`."""

import sys

from liverutils.cli import main

if __name__ == "__main__":
    sys.exit(main())
