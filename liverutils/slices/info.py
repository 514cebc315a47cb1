"""What a slice store is: the contents of store.json."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, cast

from liverutils.errors import BadInput
from liverutils.files import read_json_object
from liverutils.scans import VIEW_AXES, View


@dataclass(frozen=True)
class StoredScan:
    """A scan whose slices a store holds.

    Attributes:
        patient: Whose it is; None in stores made by hand.
        shape: Voxels along x, y and z, RAS.
        affine: 4 x 4, from voxel indices to the patient's mm; None in stores made by hand.
        spacing: Voxel size along x, y and z in mm; None where the files do not say it.
    """

    patient: str | None
    shape: tuple[int, int, int]
    affine: list[list[float]] | None
    spacing: tuple[float, float, float] | None


@dataclass(frozen=True)
class SkippedScan:
    """A scan that could not be used and was left out, as was asked for.

    Attributes:
        volume: Its name.
        patient: Whose it is.
        skipped: What is wrong with it, in a sentence.
        fault: The name of that fault.
    """

    volume: str
    patient: str
    skipped: str
    fault: str


@dataclass(frozen=True, kw_only=True)
class StoreInfo:
    """What `store.json` holds. What older stores do not say is None or empty.

    Attributes:
        source: Name of the data set, one of `sources.SOURCES`.
        licence: Under which the data may be used.
        citation: How to cite them.
        version: Of the way stores are built; another one is built anew.
        view: "axial", "coronal" or "sagittal"; of a joined store several, with "+" between.
        size: Side of the square pictures in pixels.
        fingerprint: Of the files that the scans were read from.
        cropped_to: What the scans were cropped to, such as "liver"; None where they are whole.
        intensity: "HU" or "grey", what the pictures' values are.
        slices: Number of slices, of all views together.
        volumes: Name of each scan → its grid.
        skipped: The scans that were left out.
        every: Of the views after the first one each so many slices is kept; None in the store of
            one view.
    """

    source: str
    licence: str | None = None
    citation: str | None = None
    version: int | None = None
    view: str
    size: int
    fingerprint: str
    cropped_to: str | None = None
    intensity: str
    slices: int
    volumes: dict[str, StoredScan]
    skipped: tuple[SkippedScan, ...] = ()
    every: int | None = None

    @classmethod
    def read(cls, path: Path) -> "StoreInfo":
        """Read a store.json, ours, an older one or anyone's; what is unknown is left out.

        Raises:
            BadInput: broken_store, the file is no JSON object, or a part is missing or of another
                kind than it has here.
        """
        parts = read_json_object(path, fault="broken_store")
        for name, kinds in KINDS.items():
            if type(parts.get(name)) not in kinds:
                raise broken(path, f"{name} is {parts.get(name)!r}")
        known = {part.name: parts[part.name] for part in fields(cls) if part.name in parts}
        known["volumes"] = {
            name: _read_scan(path, name, scan) for name, scan in parts["volumes"].items()
        }
        known["skipped"] = tuple(_read_skipped(path, scan) for scan in parts.get("skipped") or ())
        info = cls(**known)
        if info.size < 1 or info.slices < 1:
            raise broken(path, f"{info.slices} slices of {info.size} pixels a side")
        if set(info.views) - set(VIEW_AXES):
            raise broken(path, f"view is {info.view!r}")
        return info

    @property
    def as_json(self) -> dict[str, Any]:
        """What is written; that a store is not cropped, or not joined, is not."""
        own: dict[str, Any] = {part.name: getattr(self, part.name) for part in fields(self)}
        unsaid = [name for name in ("cropped_to", "every") if own[name] is None]
        own["volumes"] = {name: asdict(scan) for name, scan in self.volumes.items()}
        own["skipped"] = [asdict(scan) for scan in self.skipped]
        return {name: value for name, value in own.items() if name not in unsaid}

    @property
    def views(self) -> list[View]:
        """The views that the store shows."""
        return cast(list[View], self.view.split("+"))


# Of what kinds each part may be; the rest of what a file holds is not looked at.
TEXT: set[type] = {str}
NUMBER: set[type] = {int}
NOTHING: set[type] = {type(None)}
KINDS: dict[str, set[type]] = {
    "source": TEXT,
    "licence": TEXT | NOTHING,
    "citation": TEXT | NOTHING,
    "version": NUMBER | NOTHING,
    "view": TEXT,
    "size": NUMBER,
    "fingerprint": TEXT,
    "cropped_to": TEXT | NOTHING,
    "intensity": TEXT,
    "slices": NUMBER,
    "volumes": {dict},
    "skipped": {list} | NOTHING,
    "every": NUMBER | NOTHING,
}


def broken(path: Path, reason: str) -> BadInput:
    """Say that a file of a store is damaged, and what to do."""
    return BadInput(
        f"{path} is damaged ({reason}): remove the folder {path.parent} and have the store built "
        "again.",
        fault="broken_store",
    )


def _read_scan(path: Path, name: str, scan: Any) -> StoredScan:
    if not (isinstance(scan, dict) and _is_grid(scan)):
        raise broken(path, f"the grid of {name}")
    spacing = scan.get("spacing")
    return StoredScan(
        patient=scan.get("patient"),
        shape=tuple(scan["shape"]),
        affine=scan.get("affine"),
        spacing=None if spacing is None else tuple(spacing),
    )


def _is_grid(scan: Mapping[str, Any]) -> bool:
    """Whether what is said of a scan is a shape and, where it is known, a voxel size."""
    shape, spacing = scan.get("shape"), scan.get("spacing")
    sizes = [shape] if spacing is None else [shape, spacing]
    return all(
        isinstance(size, list)
        and len(size) == 3
        and all(isinstance(side, int | float) and 0 < side < math.inf for side in size)
        for size in sizes
    ) and all(isinstance(side, int) for side in shape or ())


def _read_skipped(path: Path, scan: Any) -> SkippedScan:
    names = [part.name for part in fields(SkippedScan)]
    if not (isinstance(scan, dict) and all(isinstance(scan.get(name), str) for name in names)):
        raise broken(path, f"a scan left out is {scan!r}")
    return SkippedScan(**{name: scan[name] for name in names})
