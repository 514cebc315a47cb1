"""What can be wrong with a scan, each with a name and a sentence that tells what to do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import pandas as pd
from scipy import ndimage
from tqdm.auto import tqdm

from liverutils.errors import BadInput
from liverutils.parallel import in_processes
from liverutils.scans.case import LIVER, LOWEST_HU, TUMOR, Case

Severity = Literal["error", "warning"]


# HU of fat, muscle and organs with contrast. In a CT of the abdomen they fill a third of a slice.
SOFT_TISSUE_HU = (-150, 300)
SOFT_TISSUE_SHARE = 0.05


# The liver with and without contrast, from severe steatosis to the arterial phase.
LIVER_HU = (-50, 300)


# A mask on a thinned grid tells a shift as well as the full one, at a fraction of the cost.
THINNED_SIZE = 128


# Share of the mask on liver-like tissue that a shift must win. On 3D-IRCADb-01.17 and the phantom
# the true position is best, and 2 slices off lose 0.02 (1.6 mm slices) to 0.12 (5 mm).
SHIFT_MARGIN = 0.02
LARGEST_SHIFT_MM = 40.0


@dataclass(frozen=True)
class Finding:
    """One fault of one scan, and in a sentence what is wrong and what to do."""

    fault: str
    severity: Severity
    sentence: str


class Loadable(Protocol):
    """Files of a scan, such as `sources.CaseFiles`."""

    @property
    def patient(self) -> str:
        """The person."""

    @property
    def volume(self) -> str:
        """The scan."""

    def load(self) -> Case:
        """Read the scan, or raise BadInput."""


# What each fault means and what to do. The files' faults come with a sentence of their own.
FAULTS: dict[str, tuple[Severity, str]] = {
    # Files
    "missing": ("error", "The path does not exist; check it."),
    "no_cases": ("error", "The folder holds no scans of this data set; check path and source."),
    "unreadable_scan": ("error", "The scan cannot be read; export it again or leave it out."),
    "unknown_source": ("error", "No data set of this name is known."),
    "duplicate_cases": ("error", "Two files claim to be the same scan; remove one."),
    "broken_archive": ("error", "The archive is cut short or damaged; download it again."),
    "encrypted_archive": ("error", "The archive is encrypted; unpack it first."),
    "unsafe_archive": ("error", "The archive holds links or paths that escape; do not use it."),
    "unreadable_pixels": ("error", "The pixels cannot be decoded; export without compression."),
    "nested_archives": ("error", "Archives lie in each other too deep; unpack the outer ones."),
    "too_large": ("error", "A file is larger than any slice; take it out."),
    "unreadable": ("error", "The file may not be read; check who may read it."),
    # NIfTI
    "not_nifti": ("error", "The file is not NIfTI; export it again."),
    "not_gzip": ("error", "The file is named .gz but not compressed; rename it."),
    "truncated_gzip": ("error", "The file is cut short or its checksum fails; download it again."),
    "truncated_nifti": ("error", "The file ends before its last slice; download it again."),
    "not_3d": ("error", "The file holds more or less than one volume; split it."),
    "not_grey": ("error", "The file holds colours or complex numbers; export it in grey."),
    "wrong_unit": ("error", "The voxel sizes are those of no body; check their unit."),
    "bad_affine": ("error", "The affine cannot be inverted; export the file again."),
    "nan_voxels": ("error", "Voxels are NaN or infinite; repair the file or leave it out."),
    "identity_affine": ("warning", "The affine is the identity, so the geometry is a guess."),
    "no_affine": ("warning", "The file has neither sform nor qform, so the order is a guess."),
    "contradicting_affine": ("warning", "The file tells two geometries; one was taken."),
    "mixed_orientations": ("warning", "Image and labels were stored turned; both are RAS now."),
    # DICOM
    "no_dicom": ("error", "The folder holds no DICOM pictures; check the path."),
    "not_ct": ("error", "The series is not CT; give a CT scan."),
    "localizer": ("error", "A localizer lies beside the series; move it out of the folder."),
    "multi_frame": ("error", "The file holds many frames; convert it to one file per slice."),
    "two_series": ("error", "The folder holds more than one series; keep one."),
    "no_positions": ("error", "Slices lack position, direction or spacing; export them again."),
    "mixed_directions": ("error", "Slices have different directions; give one axial series."),
    "duplicate_slices": ("error", "Two slices have the same position; remove one."),
    "missing_slices": ("error", "Slices are missing; export the series again."),
    "uneven_slices": ("error", "The slices are not evenly spaced; resample the series."),
    "gantry_tilt": ("error", "The gantry was tilted; resample the series upright."),
    "jpeg2000": ("warning", "The series is JPEG 2000, perhaps with loss."),
    "missing_rescale": ("warning", "RescaleIntercept is missing; check the HU of air and liver."),
    # Image and labels
    "single_slice": ("error", "The volume has one slice; give at least two."),
    "different_grids": ("error", "Image and labels lie on different grids; resample one."),
    "unknown_labels": ("error", "Labels other than 0, 1 and 2 occur; relabel them."),
    "scaled_labels": ("warning", "The labels were not 0, 1 and 2; it was clear which are meant."),
    "probabilities": ("warning", "The mask held probabilities; they were cut at one half."),
    "no_labels": ("warning", "There are no labels: the scan can be segmented, not learned from."),
    "empty_mask": ("error", "No voxel is labelled liver; find the right labels or leave it out."),
    "padding": ("warning", "Values below the CT scale were raised to -1024 HU."),
    "twice_rescaled": ("error", "The intercept was applied twice; add 1024 to every voxel."),
    "not_rescaled": ("error", "The intercept was not applied; subtract 1024 from every voxel."),
    "no_soft_tissue": ("error", "Hardly a voxel is soft tissue; check that these are HU."),
    "mask_off_liver": ("error", "The liver's mask does not lie on soft tissue; check the labels."),
    "shifted_mask": ("error", "The mask fits better at another height; move it there."),
    "tumor_outside_liver": ("warning", "A tumour touches no liver; check the labels."),
    "turned_patient": ("error", "Liver or spine are on the wrong side; correct the affine."),
}


def verify_case(files: Loadable | Case) -> list[Finding]:
    """Read a scan, once, and return all that is wrong with it; nothing for a clean one."""
    return _inspect(files)[1]


def verify_cases(
    cases: Sequence[Loadable | Case], *, workers: int | None = None, progress: bool = False
) -> pd.DataFrame:
    """Verify scans; one row per scan, whatever befalls the reading of one.

    Args:
        cases: What `sources.find_cases` returns, or cases in memory.
        workers: Processes, each holding one scan; one per core by default, 1 stays in this one.
        progress: Show a progress bar.

    Returns:
        patient, volume, shape, spacing_mm (None where unread or unknown), severity ("ok",
        "warning" or "error"), faults (names, comma-separated) and findings (list of sentences).
    """
    rows = in_processes(_verified_row, cases, workers)
    bar = tqdm(rows, "verifying", len(cases), unit="scan", disable=not progress)
    return pd.DataFrame(list(bar))


def read_case(files: Loadable) -> Case:
    """Load a scan; whatever its reading raises becomes BadInput, so that a cohort can go on.

    Raises:
        BadInput: As `files.load()`; unreadable_scan for any other exception, with its type.
    """
    try:
        return files.load()
    except BadInput:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise BadInput(
            f"{files.volume}: {FAULTS['unreadable_scan'][1].rstrip('.')}"
            f" ({type(error).__name__}: {reason}).",
            fault="unreadable_scan",
        ) from error


def _verified_row(files: Loadable | Case) -> dict[str, object]:
    case, findings = _inspect(files)
    return {
        "patient": files.patient,
        "volume": files.volume,
        "shape": case.image.shape if case else None,
        "spacing_mm": case.spacing if case and case.spacing_known else None,
        "severity": _worst(findings),
        "faults": ", ".join(finding.fault for finding in findings),
        "findings": [finding.sentence for finding in findings],
    }


def _inspect(files: Loadable | Case) -> tuple[Case | None, list[Finding]]:
    try:
        case = files if isinstance(files, Case) else read_case(files)
    except BadInput as error:
        severity = FAULTS[error.fault][0]
        return None, [Finding(error.fault, severity, str(error))]
    found = dict(case.provenance.get("repairs", {}))
    for fault, check in CHECKS.items():
        if detail := check(case):
            found[fault] = detail
    return case, [_finding(case, fault, detail) for fault, detail in found.items()]


def _worst(findings: list[Finding]) -> str:
    severities = {finding.severity for finding in findings}
    return next((severity for severity in ("error", "warning") if severity in severities), "ok")


def _finding(case: Case, fault: str, detail: str) -> Finding:
    severity, meaning = FAULTS[fault]
    return Finding(fault, severity, f"{case.volume}: {meaning.rstrip('.')} ({detail}).")


def _no_labels(case: Case) -> str | None:
    return "no mask was found" if case.mask is None else None


def _empty_mask(case: Case) -> str | None:
    return "0 voxels" if case.mask is not None and not case.mask.any() else None


def _hu_shares(case: Case) -> tuple[float, float, float]:
    """Return the shares of voxels that are soft tissue as they are, and 1024 HU below and above.

    The lowest value is left out: it is air, or what was clipped to it.
    """
    image = _thinned(case.image)
    low, high = SOFT_TISSUE_HU

    def share(shift: int) -> float:
        return float(np.mean((image > max(low + shift, LOWEST_HU)) & (image < high + shift)))

    return share(0), share(LOWEST_HU), share(-LOWEST_HU)


def _scale_fault(case: Case) -> str | None:
    """Return which fault the HU scale has, if any."""
    if case.intensity != "HU":
        return None
    right, below, above = (share >= SOFT_TISSUE_SHARE for share in _hu_shares(case))
    # Air that lies 1024 too high passes for soft tissue, so that scan is told by what it lacks.
    if above and np.mean(_thinned(case.image) < SOFT_TISSUE_HU[0]) < 0.01:
        return "not_rescaled"
    if right:
        return None
    return "twice_rescaled" if below else "no_soft_tissue"


def _check_scale(fault: str) -> Callable[[Case], str | None]:
    def check(case: Case) -> str | None:
        if _scale_fault(case) != fault:
            return None
        low, high = np.percentile(_thinned(case.image), (1, 99))
        return f"98 % of the voxels lie between {low:.0f} and {high:.0f}"

    return check


def _mask_off_liver(case: Case) -> str | None:
    if not _has_liver_in_hu(case) or _scale_fault(case):
        return None
    median = float(np.median(_thinned(case.image)[_thinned(case.labels) > 0]))
    return None if LIVER_HU[0] <= median <= LIVER_HU[1] else f"its median is {median:.0f} HU"


def _shifted_mask(case: Case) -> str | None:
    """Compare how much of the mask lies on liver-like tissue, for every shift along z.

    PNG slices are left out: where each was stretched to its own range, no tissue has one grey.
    """
    if not _has_liver_in_hu(case):
        return None
    shares = _shares_by_shift(_thinned(case.image), _thinned(case.labels) > 0, case.spacing[2])
    best = max(shares, key=lambda shift: shares[shift])
    if shares[best] - shares[0] <= SHIFT_MARGIN:
        return None
    return (
        f"moved by {best:+d} slices, {shares[best]:.0%} of it lies on liver-like tissue,"
        f" as it is {shares[0]:.0%}"
    )


def _shares_by_shift(image: np.ndarray, liver: np.ndarray, spacing: float) -> dict[int, float]:
    """Return the share of `liver` on voxels like its own median, by shift in slices."""
    values = image[liver]
    median = np.median(values)
    # 3 standard deviations, from the median absolute deviation of a normal distribution.
    margin = 3 * 1.4826 * np.median(np.abs(values - median))
    like = (image >= median - margin) & (image <= median + margin)
    depth = image.shape[2]
    furthest = min(depth // 4, max(3, int(LARGEST_SHIFT_MM / spacing)))
    shares = {}
    for shift in range(-furthest, furthest + 1):
        mask = liver[..., max(0, -shift) : depth - max(0, shift)]
        tissue = like[..., max(0, shift) : depth - max(0, -shift)]
        shares[shift] = np.count_nonzero(mask & tissue) / values.size
    return shares


def _tumor_outside_liver(case: Case) -> str | None:
    if case.mask is None or not (case.mask == TUMOR).any():
        return None
    mask = case.mask[_bounding_box(case.mask)]
    regions, n_regions = ndimage.label(mask, ndimage.generate_binary_structure(3, 3))
    with_liver = np.unique(regions[mask == LIVER])
    alone = n_regions - with_liver.size
    return f"{alone} of {n_regions} labelled regions are tumour without liver" if alone else None


def turned_axes(case: Case) -> dict[int, str]:
    """Return the axes that anatomy says are reversed, with what shows it; {} where it cannot tell.

    The liver belongs to the right of the body's middle (axis 0), the spine behind it (axis 1).
    """
    if not _has_liver_in_hu(case) or _scale_fault(case) or _mask_off_liver(case):
        return {}
    image = _thinned(case.image)
    body_x, body_y = _centre(image > SOFT_TISSUE_HU[0])
    liver_x, _ = _centre(_thinned(case.labels) > 0)
    width = image.shape[0] / 10
    bone = image[int(body_x - width) : int(body_x + width) + 1] > SOFT_TISSUE_HU[1]
    turned = {}
    if liver_x < body_x:
        turned[0] = "the liver is on the left"
    if bone.any() and _centre(bone)[1] > body_y:
        turned[1] = "the spine is in front"
    return turned


def _turned_patient(case: Case) -> str | None:
    return " and ".join(turned_axes(case).values()) or None


def _has_liver_in_hu(case: Case) -> bool:
    return case.intensity == "HU" and case.mask is not None and bool(_thinned(case.mask).any())


def _centre(region: np.ndarray) -> tuple[float, float]:
    """Return the mean x and y index of a region."""
    counts = np.count_nonzero(region, axis=2)
    x, y = (np.arange(size) for size in counts.shape)
    return float(counts.sum(1) @ x / counts.sum()), float(counts.sum(0) @ y / counts.sum())


def _thinned(volume: np.ndarray) -> np.ndarray:
    """Return a view with at most about `THINNED_SIZE` voxels along x and y."""
    x, y = (max(1, size // THINNED_SIZE) for size in volume.shape[:2])
    return volume[::x, ::y]


def _bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    occupied = (np.flatnonzero(mask.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1)))
    return tuple(slice(indices[0], indices[-1] + 1) for indices in occupied)


CHECKS: dict[str, Callable[[Case], str | None]] = {
    "no_labels": _no_labels,
    "empty_mask": _empty_mask,
    "twice_rescaled": _check_scale("twice_rescaled"),
    "not_rescaled": _check_scale("not_rescaled"),
    "no_soft_tissue": _check_scale("no_soft_tissue"),
    "mask_off_liver": _mask_off_liver,
    "shifted_mask": _shifted_mask,
    "tumor_outside_liver": _tumor_outside_liver,
    "turned_patient": _turned_patient,
}
