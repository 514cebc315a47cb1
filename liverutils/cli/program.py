"""From the arguments to one command, and from what it meets to an exit status."""

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from io import StringIO
from typing import Any

from liverutils.cli import course_commands, data_commands, scan_commands
from liverutils.errors import BadInput


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    options = make_parser().parse_args(arguments)
    quiet = getattr(options, "quiet", False)
    try:
        with redirect_stdout(StringIO()) if quiet else nullcontext():
            return options.command(options) or 0
    except BadInput as error:
        print(f"liverutils: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # Whoever read the output, such as `head`, has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print(f"liverutils: {place}{error.strerror or error}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("liverutils: stopped; nothing half-written was left.", file=sys.stderr)
        return 1


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands. It imports nothing heavy: `--help` answers at once."""
    parser = argparse.ArgumentParser("liverutils", description="Tools of the liver CT course.")
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (data_commands, scan_commands, course_commands):
        module.add_to(commands)
    return parser


class _Version(argparse.Action):
    """Looks the version up when it is asked for: that takes longer than all the rest."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        print(f"liverutils {version('liverutils')}")
        parser.exit()
