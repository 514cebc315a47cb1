"""Pack runs into a few archives of bounded size: `python -m tests.gpu.pack OUT [--reference]`."""

import argparse
import tarfile
from collections.abc import Iterable
from pathlib import Path

MOST_BYTES = 15 << 20
MOST_ARCHIVES = 7


def folders_of_runs(logs: Path, gallery: Path) -> list[list[Path]]:
    """Each run's folders that hold something: its logs, its pictures."""
    names = sorted(path.name for path in logs.iterdir() if path.is_dir()) if logs.is_dir() else []
    return [[p for p in (logs / name, gallery / name) if p.is_dir()] for name in names]


def size_of(folders: Iterable[Path]) -> int:
    """Bytes of all files in some folders."""
    return sum(f.stat().st_size for p in folders for f in p.rglob("*") if f.is_file())


def pack(runs: list[list[Path]], out: Path) -> list[Path]:
    """Write archives of whole runs, none above `MOST_BYTES`; name what finds no room."""
    parts: list[tuple[int, list[Path]]] = []
    for folders in sorted(runs, key=size_of, reverse=True):
        size = size_of(folders)
        for number, (taken, there) in enumerate(parts):
            if taken + size <= MOST_BYTES:
                parts[number] = (taken + size, there + folders)
                break
        else:
            if len(parts) < MOST_ARCHIVES and size <= MOST_BYTES:
                parts.append((size, folders))
            else:
                print(f"No room for {folders[0].name}, {size >> 20} MiB.")
    written = []
    for number, (_, folders) in enumerate(parts, start=1):
        path = out / f"runs-{number}.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            for folder in folders:
                archive.add(folder, filter=without_checkpoint)
        written.append(path)
    return written


def without_checkpoint(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leave out what a run that is done has no use for."""
    return None if member.name.endswith((".pt", ".lock")) else member


def main() -> None:
    """Pack this folder's runs, or its reference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--reference", action="store_true")
    options = parser.parse_args()
    home = Path() if options.reference else Path("runs")
    runs = folders_of_runs(home / "logs", home / "images_gallery")
    print(f"{len(runs)} runs in {home / 'logs'}")
    for path in pack(runs, options.out):
        print(f"{path}: {path.stat().st_size >> 10} KiB")


if __name__ == "__main__":
    main()
