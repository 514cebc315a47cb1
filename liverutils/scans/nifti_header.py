"""The header of a NIfTI file: what it says of the voxels, and whether that can be."""

import io
from pathlib import Path

import nibabel as nib
import numpy as np

from liverutils.errors import BadInput
from liverutils.scans.damage import damage_named

# A gantry tilt that is stored as a shear of the axes.
MOST_SHEAR_DEGREES = 0.5


# Real headers with their extensions are far smaller.
LARGEST_HEADER = 64 << 20


# A quaternion's length may exceed 1 by what was lost when it was stored, and programs round more
# coarsely than nibabel allows.
QUATERNION_TOLERANCE = 1e-3


def read_header(stream: io.BufferedIOBase, path: Path) -> nib.Nifti1Header:
    """Read the header and leave `stream` at the first voxel.

    Raises:
        BadInput: not_nifti, not_3d, not_grey.
    """
    content = stream.read(nib.Nifti1Header.sizeof_hdr)
    is_nifti2 = int.from_bytes(content[:4], "little") in (540, 540 << 16)
    kind = nib.Nifti2Header if is_nifti2 else nib.Nifti1Header
    content += stream.read(kind.sizeof_hdr - len(content))
    with damage_named(path, "it is not a NIfTI file, so export it again", "not_nifti"):
        header = kind(content, check=False)
        _shorten_quaternion(header)
        magic, offset = bytes(header["magic"]), float(header["vox_offset"])
    if magic.startswith((b"ni1", b"ni2")):
        raise BadInput(
            f"{path} is the header of a pair of files (.hdr and .img); convert them to one .nii"
            " file.",
            fault="not_nifti",
        )
    with damage_named(path, "it is not a NIfTI file, so export it again", "not_nifti"):
        header.check_fix(error_level=40)
    if not len(content) <= offset <= LARGEST_HEADER:
        raise BadInput(
            f"{path} says that its voxels begin at byte {offset:.0f}; export it again.",
            fault="not_nifti",
        )
    stream.read(int(offset) - len(content))
    _check_shape_and_type(header, path)
    return header


def _shorten_quaternion(header: nib.Nifti1Header) -> None:
    names = ("quatern_b", "quatern_c", "quatern_d")
    length = float(np.linalg.norm([float(header[name]) for name in names]))
    if 1 < length <= 1 + QUATERNION_TOLERANCE:
        for name in names:
            header[name] = header[name] / length


def _check_shape_and_type(header: nib.Nifti1Header, path: Path) -> None:
    with damage_named(path, "export it again", "not_nifti"):
        shape, kind = header.get_data_shape(), header.get_data_dtype()
        header.get_slope_inter()
    if len(shape) < 3 or min(shape) < 1 or any(size != 1 for size in shape[3:]):
        raise BadInput(
            f"{path} has the shape {shape}; give one volume with three axes.", fault="not_3d"
        )
    if kind.kind not in "iuf":
        raise BadInput(
            f"{path} holds colours or complex numbers, no HU and no labels; export it again in"
            " grey.",
            fault="not_grey",
        )


def check_size(header: nib.Nifti1Header, path: Path, most_bytes: int) -> None:
    """Refuse a header that asks for more voxels than the file can hold.

    Raises:
        BadInput: truncated_nifti.
    """
    shape = header.get_data_shape()
    # In Python's whole numbers, which do not overflow.
    needed = header.get_data_dtype().itemsize
    for size in shape:
        needed *= int(size)
    if needed > most_bytes:
        raise BadInput(
            f"{path} ends before its last slice: {shape} voxels take {needed} bytes, and it holds"
            f" {most_bytes} at most; copy or download it again.",
            fault="truncated_nifti",
        )


def read_affine(header: nib.Nifti1Header, path: Path) -> tuple[np.ndarray, bool, dict[str, str]]:
    """Return the affine, whether it tells the voxel size, and what was wrong with it.

    LiTS 28 to 47 have the identity, which converters write that know no geometry.

    Raises:
        BadInput: bad_affine, gantry_tilt.
    """
    affine, repairs = _best_affine(header, path)
    _check_shear(affine, path)
    zooms = np.array(header.get_zooms()[:3], float)
    if np.allclose(affine, np.eye(4)):
        if np.allclose(zooms, 1):
            return affine, False, {"identity_affine": "RAS order assumed, voxel size unknown"}
        found = " x ".join(f"{zoom:.3g}" for zoom in zooms)
        repairs = {"identity_affine": f"RAS order assumed, voxel size {found} mm from the header"}
        return np.diag([*zooms, 1.0]), True, repairs
    if not header["sform_code"] and not header["qform_code"]:
        return affine, True, {"no_affine": "LAS order assumed, as NIfTI says for such files"}
    if not repairs and _contradicts(header, affine, zooms):
        repairs = {"contradicting_affine": "the sform was used where there is one"}
    return affine, True, repairs


def _best_affine(header: nib.Nifti1Header, path: Path) -> tuple[np.ndarray, dict[str, str]]:
    """Return the sform, or the qform where there is no sform that can be used."""
    qform = _qform(header)
    if header["sform_code"]:
        sform = header.get_sform()
        if is_regular(sform):
            return sform, {}
        if qform is not None:
            return qform, {"contradicting_affine": "the sform is none, so the qform was used"}
    elif qform is not None:
        return qform, {}
    elif not header["qform_code"] and is_regular(affine := header.get_base_affine()):
        return affine, {}
    raise BadInput(
        f"{path} has an affine that cannot be inverted; export it again.", fault="bad_affine"
    )


def _qform(header: nib.Nifti1Header) -> np.ndarray | None:
    """Return the qform where the header has one that can be used."""
    if not header["qform_code"]:
        return None
    try:
        qform = header.get_qform()
    except (ValueError, nib.spatialimages.HeaderDataError):
        return None  # No rotation, or a negative voxel size.
    return qform if is_regular(qform) else None


def is_regular(affine: np.ndarray) -> bool:
    """Say whether the axes span a space, whatever unit they are in."""
    axes = affine[:3, :3]
    lengths = np.linalg.norm(axes, axis=0)
    if not (np.isfinite(affine).all() and (lengths > 1e-9).all() and (lengths < 1e9).all()):
        return False
    return abs(np.linalg.det(axes / lengths)) > 1e-2


def _check_shear(affine: np.ndarray, path: Path) -> None:
    """Refuse axes that are not at right angles: their voxels have another volume than it seems."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    cosines = np.abs((axes.T @ axes)[np.triu_indices(3, 1)])
    shear = np.degrees(np.arcsin(min(cosines.max(), 1)))
    if shear > MOST_SHEAR_DEGREES:
        raise BadInput(
            f"{path} has axes that are {shear:.1f} degrees off the right angle, as after a scan"
            " with the gantry tilted; resample it upright.",
            fault="gantry_tilt",
        )


def _contradicts(header: nib.Nifti1Header, affine: np.ndarray, zooms: np.ndarray) -> bool:
    if not np.allclose(nib.affines.voxel_sizes(affine), zooms, atol=0.01):
        return True
    other = _qform(header)
    if other is None:
        return bool(header["qform_code"])
    return not np.allclose(affine, other, rtol=0, atol=0.01)
