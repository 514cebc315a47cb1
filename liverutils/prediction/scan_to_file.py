"""From the file of a new scan and a run's weights to a mask on disk."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from liverutils.errors import BadInput
from liverutils.files import check_writable
from liverutils.prediction.cascade import find_tumors
from liverutils.prediction.doubt import FALSE_ALARMS, least_agreement, liver_agreement
from liverutils.prediction.network import TrainedNetwork, keep_largest_liver, load_network, segment
from liverutils.scans import (
    LIVER,
    TUMOR,
    Case,
    View,
    doubts_of_liver,
    is_dicom_seg,
    verify_case,
    write_nifti,
    write_nifti_like,
)
from liverutils.scoring import label_lesions
from liverutils.sources import is_nifti, read_scan

MUCH_APART = 0.1  # share of the voxels found


@dataclass(frozen=True)
class Prediction:
    """What was found in a scan.

    Attributes:
        case: The scan, without labels.
        labels: (X, Y, Z) uint8 on its grid, RAS: 0 background, 1 liver, 2 tumour.
        remarks: What is odd about the scan, or about the liver that was found, in sentences.
        agreement: Of the network with itself, from `liver_agreement`; None where nobody asked.
        files: What was written: "mask", and "dicom_seg" and "probabilities" where asked for.
    """

    case: Case
    labels: np.ndarray
    remarks: list[str]
    agreement: float | None = None
    files: dict[str, str] = field(default_factory=dict)

    def volumes_ml(self) -> dict[str, float]:
        """Millilitres of "liver", its tumours included, and "tumor"; NaN without voxel size."""
        voxel_ml = np.prod(self.case.spacing) / 1000 if self.case.spacing_known else np.nan
        voxels = {"liver": self.labels >= LIVER, "tumor": self.labels == TUMOR}
        return {name: float(mask.sum() * voxel_ml) for name, mask in voxels.items()}

    def count_tumors(self) -> int:
        """Connected pieces of tumour, as `scoring.label_lesions` tells them apart."""
        return label_lesions(self.labels == TUMOR)[1]

    def report(self) -> dict[str, Any]:
        """What was found, for JSON: volumes in ml, tumours, agreement, doubts, files.

        None stands for what is unknown.
        """
        ml = self.volumes_ml() if self.case.spacing_known else {}
        return {
            "liver_ml": ml.get("liver"),
            "tumor_ml": ml.get("tumor"),
            "tumors": self.count_tumors(),
            "agreement": self.agreement,
            "doubts": self.remarks,
            "files": self.files,
        }

    def describe(self) -> str:
        """Say in a sentence what was found."""
        if not self.labels.any():
            return f"No liver was found in {self.case.volume}, so the mask is empty."
        pieces = self.count_tumors()
        tumors = f"{pieces} tumour{'s' * (pieces > 1)}" if pieces else "no tumour"
        if not self.case.spacing_known:
            return f"Found: a liver, {tumors}; without voxel size their volumes are unknown."
        ml = self.volumes_ml()
        of_them = f" of {ml['tumor']:.1f} ml" if pieces else ""
        return f"Found: a liver of {ml['liver']:.0f} ml, {tumors}{of_them}."


@dataclass(frozen=True)
class Networks:
    """What segments a scan: a network for the whole, and perhaps one that looks inside its liver.

    Attributes:
        first: Liver and tumours, or the liver.
        second: Tumours inside the liver that the first found, or None: a network that was trained
            on livers alone, or one for whole scans of which only the tumours count.
        name: Of the weights that name the tumours.
        least: `least_agreement` of the first one's weights.
    """

    first: TrainedNetwork
    second: TrainedNetwork | None
    name: str
    least: float | None


def load_networks(
    weights: Path | str, tumor_weights: Path | str | None = None, device: str = "auto"
) -> Networks:
    """Load what `predict_scan` needs; once for many scans.

    Raises:
        BadInput: As `prediction.load_network`; wrong_stage.
    """
    first = _load_for_scans(weights, device)
    second = load_network(tumor_weights, device) if tumor_weights else None
    name = Path(tumor_weights or weights).stem
    return Networks(first, second, name, least_agreement(weights))


def predict_scan(
    scan: Path | str,
    weights: Path | str,
    out: Path | str,
    *,
    tumor_weights: Path | str | None = None,
    device: str = "auto",
    **options: Any,
) -> Prediction:
    """Load the weights and segment one new scan.

    Args:
        scan: As for `segment_file`.
        weights: From a run of this course.
        out: The mask, .nii or .nii.gz.
        tumor_weights: Of a second network, which looks for tumours inside the liver of the first.
        device: As for `training.choose_device`.
        options: As for `segment_file`.

    Raises:
        BadInput: As `load_networks` and `segment_file`.
    """
    return segment_file(load_networks(weights, tumor_weights, device), scan, out, **options)


def segment_file(
    networks: Networks,
    scan: Path | str,
    out: Path | str,
    *,
    view: View | None = None,
    augment: bool = False,
    look_again: bool = True,
    dicom_seg: Path | str | None = None,
    probabilities: Path | str | None = None,
    progress: bool = True,
) -> Prediction:
    """Segment a new scan and write its mask, on the very voxels of the scan.

    Of a NIfTI scan the mask takes axes and affine; that of a CT series is RAS. The largest piece of
    liver is kept, with the tumours in it.

    Args:
        networks: From `load_networks`.
        scan: NIfTI file, or folder or archive of a CT series.
        out: The mask, .nii or .nii.gz.
        view: As for `prediction.segment`.
        augment: As for `prediction.segment`; of the first network.
        look_again: Measure how far the first network agrees with itself, and doubt a mask where it
            does less so than on the scans that it was measured on.
        dicom_seg: Where to write a DICOM SEG that refers to the series; none for an empty mask.
        probabilities: Where to write the first network's probabilities, before any piece is taken
            away, as NIfTI of two volumes, 0 to 255: liver with its tumours, and tumour.
        progress: Show a progress bar.

    Raises:
        BadInput: As `sources.read_scan` and `prediction.segment`; what `verify` calls an error;
            not_writable, overwrites_scan, overwrites_output, not_dicom.
    """
    _check_outputs(Path(scan), out, dicom_seg, probabilities)
    case = read_scan(scan)
    remarks = _check_scan(case)
    found = segment(
        networks.first,
        case,
        view=view,
        augment=augment,
        keep_probabilities=probabilities is not None,
        progress=progress,
    )
    labels, voxels = found.labels, int(np.count_nonzero(found.labels))
    keep_largest_liver(labels)
    kept = int(np.count_nonzero(labels))
    remarks += _say_apart(voxels, kept)
    agreement = liver_agreement(networks.first, case, labels) if look_again and kept else None
    remarks += _say_doubt(agreement, networks.least)
    if networks.second:
        labels = find_tumors(networks.second, case, labels >= LIVER)
    remarks += doubts_of_liver(case, labels >= LIVER)
    _write(out, labels, scan, case)
    files = {"mask": str(out)}
    if probabilities is not None and found.probabilities is not None:
        _write(probabilities, found.probabilities, scan, case)
        files["probabilities"] = str(probabilities)
    if dicom_seg is not None and not labels.any():
        remarks.append(f"{dicom_seg} was not written: a DICOM SEG cannot be empty.")
    elif dicom_seg is not None:
        # highdicom takes a second to import.
        from liverutils.scans import PATIENT_AND_STUDY, write_dicom_seg

        write_dicom_seg(dicom_seg, labels, scan, networks.name)
        files["dicom_seg"] = str(dicom_seg)
        remarks.append(
            f"{dicom_seg} says whose scan it is, as DICOM asks: it has the series' "
            f"{', '.join(PATIENT_AND_STUDY)}, and nothing else about the patient; anonymise it "
            "before you hand it on."
        )
    return Prediction(case, labels, remarks, agreement, files)


def _say_apart(found: int, kept: int) -> list[str]:
    """Doubt an answer of which much was no part of the largest piece of liver."""
    apart = 1 - kept / found if found else 0.0
    if apart < MUCH_APART:
        return []
    return [
        f"Look at this mask before you use it: {apart:.0%} of what the network took for liver lay "
        "apart from the largest piece, and was left out."
    ]


def _say_doubt(agreement: float | None, least: float | None) -> list[str]:
    if agreement is None or least is None or agreement >= least:
        return []
    return [
        f"Look at this mask before you use it: turned and zoomed a little, the scan gives another "
        f"liver (agreement {agreement:.3f}); where this network was measured, "
        f"{1 - FALSE_ALARMS:.0%} of its good answers agreed by {least:.3f} or more."
    ]


def _check_outputs(scan: Path, *outputs: Path | str | None) -> None:
    """Refuse before the work what could not be written after it."""
    *_, dicom_seg, _ = outputs
    named = [Path(path).resolve() for path in outputs if path is not None]
    if twice := [path for path in named if named.count(path) > 1]:
        raise BadInput(
            f"{twice[0]} is named for two outputs, and the second would replace the first: name "
            "another file.",
            fault="overwrites_output",
        )
    for path in (Path(path) for path in outputs if path is not None):
        check_writable(path)
        if path.exists() and (kind := _what_it_would_replace(path, scan)):
            raise BadInput(
                f"{path} is {kind}; name another file for what is written.",
                fault="overwrites_scan",
            )
    if dicom_seg is not None and Path(dicom_seg).exists() and not is_dicom_seg(Path(dicom_seg)):
        raise BadInput(
            f"{dicom_seg} is there already and is no DICOM SEG; name another file.",
            fault="overwrites_output",
        )
    if dicom_seg is not None and is_nifti(scan):
        raise BadInput(
            f"A DICOM SEG refers to a DICOM series, and {scan} is none; give the series, or leave "
            "the DICOM SEG out.",
            fault="not_dicom",
        )
    if dicom_seg is not None:
        # highdicom takes a second to import.
        from liverutils.scans import check_dicom_seg

        check_dicom_seg(scan)


def _what_it_would_replace(path: Path, scan: Path) -> str | None:
    if path.is_dir():
        return "a folder"
    if path.samefile(scan):
        return "the scan itself"
    return "one of the scan's own files" if scan.resolve() in path.resolve().parents else None


def _load_for_scans(weights: Path | str, device: str) -> TrainedNetwork:
    network = load_network(weights, device)
    if "cropped_to" in network.data:
        raise BadInput(
            f"The network in {weights} was trained on livers that another network found; give it "
            "as --tumor-weights, beside --weights for the liver.",
            fault="wrong_stage",
        )
    return network


def _check_scan(case: Case) -> list[str]:
    """Return what is odd about a scan in sentences; refuse one that no network can have learned."""
    findings = [finding for finding in verify_case(case) if finding.fault != "no_labels"]
    for finding in findings:
        if finding.severity == "error":
            raise BadInput(finding.sentence, fault=finding.fault)
    return [finding.sentence for finding in findings]


def _write(path: Path | str, array: np.ndarray, scan: Path | str, case: Case) -> None:
    if is_nifti(Path(scan)):
        write_nifti_like(path, array, scan)
    else:
        write_nifti(path, array, case.affine)
