"""NIfTI: a scan, or a mask, from a file and into one."""

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from isal import igzip

from liverutils.errors import BadInput
from liverutils.files import written_aside
from liverutils.scans.archives import DEFLATE_RATIO, open_file, size_of
from liverutils.scans.case import (
    TUMOR,
    Case,
    check_body_size,
    check_case,
    check_same_grid,
    clip_padding,
    same_grid,
    turn_from_ras,
    turn_to_ras,
)
from liverutils.scans.damage import damage_named
from liverutils.scans.labels import as_labels
from liverutils.scans.nifti_header import check_size, read_affine, read_header

# What of a NIfTI header says where the voxels lie.
GEOMETRY = (
    *("pixdim", "xyzt_units", "qform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "sform_code", "srow_x", "srow_y", "srow_z"),
)


# Some writers pad a file; what goes on for longer is none.
MOST_PADDING = 64 << 20


def read_nifti_mask(path: Path | str) -> tuple[np.ndarray, np.ndarray]:
    """Read NIfTI labels as uint8 (X, Y, Z) in RAS order, with their affine (4, 4).

    The file may lie in an archive. The voxels are held once in memory: they are decompressed and
    converted slice by slice, and turned to RAS as a view.

    Masks of 0 and 255, scaled ones and probabilities become labels where that is unambiguous (see
    `scans.labels`). A value that is no label (negative, above 254 or no whole number) becomes 255.

    Raises:
        BadInput: not_gzip, truncated_gzip, not_nifti, truncated_nifti, not_3d, not_grey,
            bad_affine, gantry_tilt, wrong_unit, nan_voxels.
    """
    stored = _read_labels(Path(path))
    return turn_to_ras(stored.array, stored.affine)


def write_nifti(path: Path | str, array: np.ndarray, affine: np.ndarray) -> None:
    """Write `array` (int16 or uint8) as NIfTI, whole or not at all.

    A name that ends in `.gz` is compressed, fast; the same voxels always give the same bytes.
    """
    image = nib.Nifti1Image(array, affine, dtype=array.dtype)
    image.header.set_xyzt_units("mm")
    _write_image(path, image)


def write_nifti_like(path: Path | str, array: np.ndarray, scan: Path | str) -> None:
    """Write an RAS volume as NIfTI on the very grid of the file `scan`: its axes, its affine.

    So that the mask of a scan lies over it in every viewer, whatever that makes of the header.

    Args:
        path: As for `write_nifti`.
        array: uint8 (X, Y, Z), or (X, Y, Z, N) for N volumes, in RAS order.
        scan: A NIfTI file; it may lie in an archive.

    Raises:
        BadInput: As `read_nifti_mask`.
    """
    with _open_nifti(Path(scan)) as (stream, _):
        header = read_header(stream, Path(scan))
        affine = read_affine(header, Path(scan))[0]
    kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    own = kind.header_class()
    own.set_data_dtype(array.dtype)
    for name in GEOMETRY:
        own[name] = header[name]
    _write_image(path, kind(turn_from_ras(array, affine), None, own))


def _write_image(path: Path | str, image: nib.Nifti1Image | nib.Nifti2Image) -> None:
    header = image.header.copy()
    header.set_data_offset(header.single_vox_offset)
    header.set_slope_inter(1, 0)
    head = header.binaryblock.ljust(header.single_vox_offset, b"\0")
    voxels = np.ascontiguousarray(np.asarray(image.dataobj).T)
    content = b"".join((head, voxels.data.cast("B")))
    if Path(path).suffix == ".gz":
        content = igzip.compress(content, compresslevel=1, mtime=0)
    with written_aside(path) as aside:
        aside.write_bytes(content)


def case_from_nifti(
    image_path: Path | str,
    mask_path: Path | str | None = None,
    *,
    patient: str,
    volume: str,
    provenance: dict[str, Any] | None = None,
    mask_fits: bool = False,
) -> Case:
    """Read an image in HU and, where given, its labels.

    Args:
        mask_fits: Labels with as many voxels as the image fit it voxel for voxel, even if their
            affine says otherwise. Without it only an affine that is the identity is not believed.

    Raises:
        BadInput: As `read_nifti_mask`, and single_slice, different_grids, unknown_labels.
    """
    stored = _read_stored(Path(image_path), np.int16, _to_int16)
    image, affine = turn_to_ras(stored.array, stored.affine)
    repairs = {**stored.repairs, **clip_padding(image)}
    mask = None
    if mask_path is not None:
        labels = _read_labels(Path(mask_path))
        takes_affine = _takes_affine(stored, labels, mask_fits)
        repairs |= _mask_repairs(stored.affine, labels.affine, takes_affine) | labels.label_repairs
        mask_affine = stored.affine if takes_affine else labels.affine
        mask, mask_affine = turn_to_ras(labels.array, mask_affine)
        check_same_grid(Path(mask_path), image.shape, affine, mask.shape, mask_affine)
    case = Case(
        patient,
        volume,
        image,
        mask,
        affine,
        spacing_known=stored.spacing_known,
        provenance={**(provenance or {}), "repairs": repairs},
    )
    check_case(case, str(image_path), str(mask_path))
    return case


@dataclass
class _Stored:
    """A NIfTI volume in the order in which it is stored."""

    array: np.ndarray
    affine: np.ndarray
    spacing_known: bool
    repairs: dict[str, str]
    label_repairs: dict[str, str] = field(default_factory=dict)


def _read_stored(path: Path, dtype: type, convert: Callable) -> _Stored:
    with _open_nifti(path) as (stream, most_bytes):
        header = read_header(stream, path)
        check_size(header, path, most_bytes)
        affine, spacing_known, repairs = read_affine(header, path)
        shape = header.get_data_shape()[:3]
        if spacing_known:
            check_body_size(path, shape, affine)
        array: np.ndarray = np.empty(shape, dtype, order="F")
        if header.get_data_dtype() == dtype and not _scaling(header):
            _read_into(array, stream, path)
        else:
            for index in range(shape[2]):
                array[..., index] = convert(_read_slice(stream, path, header, shape[:2]), path)
        _read_to_the_end(stream, path)
    return _Stored(array, affine, spacing_known, repairs)


def _read_to_the_end(stream: io.BufferedIOBase, path: Path) -> None:
    """The checksum stands behind the last voxel and is compared only when the end is read."""
    for _ in range(MOST_PADDING >> 20):
        if not stream.read(1 << 20):
            return
    raise BadInput(
        f"{path} goes on for more than {MOST_PADDING >> 20} MB behind its last voxel; export it"
        " again.",
        fault="not_nifti",
    )


def _read_labels(path: Path) -> _Stored:
    stored = _read_stored(path, np.uint8, _to_label)
    if stored.array.max() > TUMOR:
        values = _read_stored(path, np.float32, lambda plane, _: plane).array
        stored.array, stored.label_repairs = as_labels(values, stored.array)
    return stored


def _takes_affine(image: _Stored, labels: _Stored, mask_fits: bool) -> bool:
    """Say whether the labels take the affine of an image that they otherwise would not lie on.

    Programs that lose the geometry write the identity, which is no geometry of a CT.
    """
    if image.array.shape != labels.array.shape:
        return False
    if not mask_fits and "identity_affine" not in labels.repairs:
        return False
    grids = [turn_to_ras(each.array, each.affine) for each in (image, labels)]
    (turned, affine), (turned_labels, labels_affine) = grids
    return turned.shape != turned_labels.shape or not same_grid(turned.shape, affine, labels_affine)


def _mask_repairs(
    affine: np.ndarray, mask_affine: np.ndarray, takes_affine: bool
) -> dict[str, str]:
    if takes_affine:
        return {"contradicting_affine": "the labels took the affine of the image"}
    if np.array_equal(nib.io_orientation(affine), nib.io_orientation(mask_affine)):
        return {}
    codes = ["".join(nib.aff2axcodes(each)) for each in (affine, mask_affine)]
    return {"mixed_orientations": f"the image was stored as {codes[0]} and the labels {codes[1]}"}


@contextmanager
def _open_nifti(path: Path) -> Iterator[tuple[io.BufferedIOBase, int]]:
    """Open a file, compressed or not, for reading its content, and say what that is at most."""
    size = size_of(path)
    with (
        open_file(path) as file,
        # All that open_file opens can be read into a buffer, though not all says so.
        io.BufferedReader(file, 1 << 20) as stream,  # type: ignore[type-var]
    ):
        is_gzip = stream.peek(2)[:2] == b"\x1f\x8b"
        if path.suffix.lower() == ".gz" and not is_gzip:
            raise BadInput(
                f"{path} is named .gz but is not compressed; rename it, or download it again.",
                fault="not_gzip",
            )
        if is_gzip:
            yield io.BufferedReader(_Gzip(stream, path), 1 << 18), size * DEFLATE_RATIO
        else:
            yield stream, size


class _Gzip(io.RawIOBase):
    """What a gzip file holds; what is damaged of it raises BadInput."""

    def __init__(self, stream: io.BufferedIOBase, path: Path) -> None:
        self.path = path
        with self._damaged():
            self.file = igzip.open(stream)

    def _damaged(self) -> AbstractContextManager[None]:
        advice = "it is cut short or damaged, so copy or download it again"
        return damage_named(self.path, advice, "truncated_gzip")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with self._damaged():
            return self.file.readinto(memoryview(buffer)[: 1 << 18])


def _read_into(array: np.ndarray, stream: io.BufferedIOBase, path: Path) -> None:
    """Fill `array`, whose order in memory is Fortran's, with the next bytes of the stream."""
    rest = array.T.data.cast("B")
    while rest:
        if not (n_bytes := stream.readinto(rest)):
            raise BadInput(
                f"{path} ends before its last slice; copy or download it again.",
                fault="truncated_nifti",
            )
        rest = rest[n_bytes:]


def _read_slice(
    stream: io.BufferedIOBase, path: Path, header: nib.Nifti1Header, shape: tuple[int, int]
) -> np.ndarray:
    plane = np.empty(shape, header.get_data_dtype(), order="F")
    _read_into(plane, stream, path)
    if scaling := _scaling(header):
        slope, intercept = scaling
        return plane * np.float32(slope) + np.float32(intercept)
    return plane


def _scaling(header: nib.Nifti1Header) -> tuple[float, float] | None:
    """Return slope and intercept of the real values; None where the stored values are real."""
    slope, intercept = header.get_slope_inter()
    return None if slope is None or (slope, intercept) == (1, 0) else (slope, intercept)


def _to_int16(plane: np.ndarray, path: Path) -> np.ndarray:
    if plane.dtype == np.int16:
        return plane
    if not np.isfinite(plane).all():
        raise BadInput(
            f"{path} has voxels that are NaN or infinite; repair it or leave it out.",
            fault="nan_voxels",
        )
    limits = np.iinfo(np.int16)
    return np.rint(plane).clip(limits.min, limits.max)


def _to_label(plane: np.ndarray, _: Path) -> np.ndarray:
    if plane.dtype == np.uint8:
        return plane
    is_label = (plane >= 0) & (plane < 255) & (np.rint(plane) == plane)
    return np.where(is_label, plane, 255)
