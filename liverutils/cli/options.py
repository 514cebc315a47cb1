"""Options that several commands have, and the values that they take."""

import argparse
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

VIEWS = ("axial", "coronal", "sagittal")


class Later:
    """Choices that are looked up when they are needed: importing what knows them takes long."""

    def __init__(self, names: Callable[[], Collection[str]]) -> None:
        self.names = names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __contains__(self, name: object) -> bool:
        return name in self.names()


def add_source(parser: argparse.ArgumentParser) -> None:
    """Ask for a data set and the place of its files."""
    parser.add_argument(
        "source",
        help="ircadb, lits, msd, lits-png, chaos, crlm, totalsegmentator, folder, phantom, …;"
        " `liverutils list sources` has them all",
    )
    parser.add_argument("raw", type=Path, help="its files: a folder or an archive")
    parser.add_argument(
        "--copy-geometry",
        action="store_true",
        help="masks in NIfTI lie on their image voxel for voxel, whatever geometry they tell",
    )


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Offer a number of processes."""
    parser.add_argument("--workers", type=positive, help="processes (default: one per core)")


def add_quiet(parser: argparse.ArgumentParser, json: bool = False) -> None:
    """Offer silence, and JSON where `json` is set."""
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--quiet", action="store_true", help="say nothing but what went wrong")
    if json:
        add_json(how)


def add_json(parser: argparse._ActionsContainer) -> None:
    """Offer JSON."""
    parser.add_argument(
        "--json",
        action="store_true",
        help="print one JSON document instead; null is unknown, and infinity is a text",
    )


def wants_bars(options: argparse.Namespace) -> bool:
    """Say whether progress bars are shown: on a terminal only, and to nobody who wants silence."""
    return sys.stderr.isatty() and not options.quiet


def positive(text: str) -> int:
    """A whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def nifti(text: str) -> Path:
    """A NIfTI file to write."""
    if not text.endswith((".nii", ".nii.gz")):
        raise argparse.ArgumentTypeError(f"{text} does not end in .nii or .nii.gz")
    return Path(text)


def nifti_or_folder(text: str) -> Path:
    """A NIfTI file to write, or a folder: a name without an ending."""
    place = Path(text)
    if not text.endswith((".nii", ".nii.gz")) and place.suffix and not place.is_dir():
        raise argparse.ArgumentTypeError(
            f"{text} neither ends in .nii or .nii.gz, nor is it a folder's name, without an ending"
        )
    return place


def share(text: str) -> float:
    """A number above 0 and up to 1."""
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} does not lie above 0 and up to 1")
    return value
