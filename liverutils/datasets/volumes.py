"""A CT scan in memory, and NIfTI and DICOM in and out."""

import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

import nibabel as nib
import numpy as np
from isal import igzip, isal_zlib

from liverutils.errors import BadInput
from liverutils.files import written_aside

View = Literal["axial", "coronal", "sagittal"]

BACKGROUND, LIVER, TUMOR = 0, 1, 2
CLASS_NAMES = ("background", "liver", "tumour")

# The array axis that each view cuts, in RAS order.
VIEW_AXES: dict[str, int] = {"sagittal": 0, "coronal": 1, "axial": 2}


@dataclass(frozen=True)
class Case:
    """One CT scan, its labels and where it came from.

    Attributes:
        patient: The person. The same person in two data sets has the same name.
        volume: The scan, unique within its data set.
        image: int16 (X, Y, Z) in HU.
        mask: uint8 (X, Y, Z), 0 background, 1 liver, 2 tumour; None where there are no labels.
        affine: (4, 4), voxel indices to millimetres, RAS.
        spacing_known: False where the source has no voxel size (`affine` then counts voxels).
        intensity: "HU", or "grey" for 8-bit pictures whose HU are lost.
        provenance: Source, files and what was done to them.

    RAS means that index 0 grows towards the patient's right, 1 towards the front, 2 towards the
    head.
    """

    patient: str
    volume: str
    image: np.ndarray
    mask: np.ndarray | None
    affine: np.ndarray
    spacing_known: bool = True
    intensity: Literal["HU", "grey"] = "HU"
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size along x, y and z in mm; 1 voxel where `spacing_known` is False."""
        return tuple(float(s) for s in nib.affines.voxel_sizes(self.affine))


def as_picture(plane: np.ndarray) -> np.ndarray:
    """Turn a plane of an RAS volume into a picture (rows, columns), as radiologists look at it.

    Axial (X, Y): front of the body at the top, patient's right on the left. Coronal (X, Z): head
    at the top, patient's right on the left. Sagittal (Y, Z): head at the top, front on the left.
    """
    return plane[::-1, ::-1].T


def from_picture(picture: np.ndarray) -> np.ndarray:
    """Undo `as_picture`."""
    return picture.T[::-1, ::-1]


def take_plane(volume: np.ndarray, view: View, index: int) -> np.ndarray:
    """Return slice `index` of an RAS volume (X, Y, Z) as a picture (rows, columns)."""
    return as_picture(np.take(volume, index, axis=VIEW_AXES[view]))


def read_nifti(file: Path | str | BinaryIO) -> tuple[np.ndarray, np.ndarray]:
    """Read a NIfTI volume as int16 (X, Y, Z) in RAS order, with its affine (4, 4).

    Real values are rounded. Voxels stored as int16 are held once in memory; others are converted
    slice by slice, so they too need little more than the result.

    Raises:
        BadInput: not_gzip, truncated_gzip, not_nifti, truncated_nifti, not_3d, nan_voxels.
    """
    return _to_ras(*_read_stored(file, np.int16))


def read_nifti_mask(file: Path | str | BinaryIO) -> tuple[np.ndarray, np.ndarray]:
    """Read NIfTI labels as uint8 (X, Y, Z) in RAS order, with their affine; as `read_nifti`."""
    return _to_ras(*_read_stored(file, np.uint8))


def case_from_nifti(
    image_file: Path | str | BinaryIO,
    mask_file: Path | str | BinaryIO | None = None,
    *,
    patient: str,
    volume: str,
    provenance: dict[str, Any] | None = None,
) -> Case:
    """Read an image in HU and, where given, its labels.

    Raises:
        BadInput: As `read_nifti`, and single_slice, different_grids, unknown_labels.
    """
    image, affine = read_nifti(image_file)
    mask = None
    if mask_file is not None:
        mask, mask_affine = read_nifti_mask(mask_file)
        _check_grids(mask_file, image.shape, affine, mask.shape, mask_affine)
    return Case(patient, volume, image, mask, affine, provenance=provenance or {})


def _check_grids(name, shape, affine, mask_shape, mask_affine) -> None:
    if shape != mask_shape or not np.allclose(affine, mask_affine, rtol=0, atol=1e-3):
        raise BadInput(
            f"{name} is not on the grid of its image; resample one to the other.",
            fault="different_grids",
        )


def write_nifti(path: Path | str, array: np.ndarray, affine: np.ndarray) -> None:
    """Write `array` (int16 or uint8) as NIfTI, whole or not at all.

    A name that ends in `.gz` is compressed, fast; the same voxels always give the same bytes.
    """
    image = nib.Nifti1Image(array, affine, dtype=array.dtype)
    image.header.set_xyzt_units("mm")
    content = image.to_bytes()
    if Path(path).suffix == ".gz":
        content = igzip.compress(content, compresslevel=1, mtime=0)
    with written_aside(path) as aside:
        aside.write_bytes(content)


def _read_stored(file: Path | str | BinaryIO, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """Read a NIfTI volume in the order in which it is stored, converted to `dtype`."""
    with _open_nifti(file) as (stream, name):
        header = _read_header(stream, name)
        shape = header.get_data_shape()
        shape = shape[:3] if shape[3:] == (1,) * len(shape[3:]) else shape
        if len(shape) != 3:
            raise BadInput(
                f"{name} has the shape {shape}; give one volume with three axes.", fault="not_3d"
            )
        array = np.empty(shape, dtype, order="F")
        for index in range(shape[2]):
            array[..., index] = _read_slice(stream, name, header, shape[:2], dtype)
        # The checksum stands behind the last voxel and is compared only when the end is read.
        while stream.read(1 << 20):
            pass
        return array, header.get_best_affine()


def _read_slice(stream: BinaryIO, name: str, header, shape: tuple[int, int], dtype: type):
    stored = header.get_data_dtype()
    content = stream.read(shape[0] * shape[1] * stored.itemsize)
    if len(content) < shape[0] * shape[1] * stored.itemsize:
        raise BadInput(
            f"{name} ends before its last slice; copy or download it again.",
            fault="truncated_nifti",
        )
    plane = np.frombuffer(content, stored).reshape(shape, order="F")
    slope, intercept = header.get_slope_inter()
    if slope not in (None, 1.0) or intercept not in (None, 0.0):
        plane = plane * np.float32(slope) + np.float32(intercept)
    if plane.dtype.kind == "f":
        if not np.isfinite(plane).all():
            raise BadInput(
                f"{name} has voxels that are NaN or infinite; repair it or leave it out.",
                fault="nan_voxels",
            )
        plane = np.rint(plane)
    limits = np.iinfo(dtype)
    return plane if plane.dtype == dtype else plane.clip(limits.min, limits.max)


def _read_header(stream: BinaryIO, name: str) -> nib.Nifti1Header:
    """Read the header and leave `stream` at the first voxel."""
    first = stream.read(nib.Nifti1Header.sizeof_hdr)
    kind = nib.Nifti2Header if first[:4] in (b"\x1c\x02\0\0", b"\0\0\x02\x1c") else None
    kind = kind or nib.Nifti1Header
    first += stream.read(kind.sizeof_hdr - len(first))
    try:
        header = kind(first)
    except (nib.spatialimages.HeaderDataError, nib.wrapstruct.WrapStructError) as error:
        raise BadInput(
            f"{name} is not a NIfTI file; export it again.", fault="not_nifti"
        ) from error
    stream.read(max(int(header["vox_offset"]) - kind.sizeof_hdr, 0))
    return header


@contextmanager
def _open_nifti(file: Path | str | BinaryIO) -> Iterator[tuple[BinaryIO, str]]:
    """Open a file or stream, compressed or not, for reading; yield it with its name."""
    name = str(getattr(file, "name", file))
    raw = Path(file).open("rb") if isinstance(file, Path | str) else file
    with io.BufferedReader(raw, 1 << 20) as stream:
        is_gzip = stream.peek(2)[:2] == b"\x1f\x8b"
        if name.endswith(".gz") and not is_gzip:
            raise BadInput(
                f"{name} is named .gz but is not compressed; rename it, or download it again.",
                fault="not_gzip",
            )
        try:
            yield (igzip.open(stream) if is_gzip else stream), name
        except (EOFError, gzip.BadGzipFile, isal_zlib.error) as error:
            raise BadInput(
                f"{name} is cut short or damaged; copy or download it again.",
                fault="truncated_gzip",
            ) from error


def _to_ras(array: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn axes, without copying, so that they grow to the right, the front and the head."""
    turn = nib.io_orientation(affine)
    to_stored = nib.orientations.inv_ornt_aff(turn, array.shape)
    return nib.apply_orientation(array, turn), affine @ to_stored
