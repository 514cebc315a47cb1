"""Folders that this package makes, told from everyone else's."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from liverutils.errors import BadInput

# Snakemake notes in every folder that a rule has made when it did.
SNAKEMAKES = Path(".snakemake_timestamp")


@dataclass(frozen=True)
class FolderKind:
    """A kind of folder that this package makes.

    Attributes:
        name: As a reader knows it, such as "slice store".
        marker: The file that each of them holds.
        files: Patterns of all files in it, relative to it.
    """

    name: str
    marker: str
    files: tuple[str, ...]

    def foreign(self, folder: Path) -> Path | None:
        """Return something in the folder that this package did not put there, or None."""
        inside = sorted(path for path in folder.rglob("*") if not path.is_dir())
        return next((p for p in inside if not self._has(p.relative_to(folder))), None)

    def _has(self, path: Path) -> bool:
        depth = len(path.parts)
        return path == SNAKEMAKES or any(
            path.match(p) for p in self.files if len(Path(p).parts) == depth
        )


def check_own(folder: Path | str, kind: FolderKind, *, reads: Iterable[Path | str] = ()) -> None:
    """Refuse a folder that cannot be made, or made again, without loss to someone.

    A folder that is missing or empty will do, and one of the same kind that holds nothing else.

    Args:
        folder: What is to be written.
        kind: What it will be.
        reads: What it is made from; it may not lie in the folder, nor the folder in it.

    Raises:
        BadInput: folder_in_use.
    """
    folder = Path(folder)
    if folder.is_symlink():
        _refuse(folder, kind, f"is a link to {folder.readlink()}")
    place = folder.resolve()
    for source in reads:
        source = Path(source).resolve()
        if place == source or place.is_relative_to(source) or source.is_relative_to(place):
            where = "is" if place == source else "lies in" if source in place.parents else "holds"
            _refuse(folder, kind, f"{where} {source}, which it would be made from")
    if not folder.exists():
        return
    if not folder.is_dir():
        _refuse(folder, kind, "is a file")
    if any(folder.iterdir()):
        if not (folder / kind.marker).is_file():
            _refuse(folder, kind, f"holds something else than a {kind.name}")
        if strange := kind.foreign(folder):
            _refuse(folder, kind, f"holds {strange.relative_to(folder)}, which is not part of it")


def _refuse(folder: Path, kind: FolderKind, reason: str) -> None:
    raise BadInput(
        f"{folder} {reason}: name another folder for the {kind.name}, one that does not exist yet.",
        fault="folder_in_use",
    )
