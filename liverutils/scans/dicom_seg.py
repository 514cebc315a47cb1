"""Masks as DICOM Segmentation objects, which viewers and archives show over their CT series."""

import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import highdicom as hd
import numpy as np
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid
from pydicom.valuerep import DA, TM

from liverutils.errors import BadInput
from liverutils.files import written_aside
from liverutils.scans.case import LIVER, TUMOR, turn_from_ras
from liverutils.scans.damage import damage_named
from liverutils.scans.dicom import dicom_affine, read_dicom_slices
from liverutils.scans.dicom_files import Slice, values_of

MAKER = "liver-ct-course"


PATIENT_AND_STUDY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
)


PATIENT_GROUP = 0x0010

OPTIONAL_OF_STUDY = (
    *("StudyDescription", "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy"),
    *("AdmittingDiagnosesDescription", "ReferringPhysicianIdentificationSequence"),
)


# Name, lowest label (the liver holds its tumours), and SNOMED CT's category and type.
SEGMENTS = (
    ("liver", LIVER, codes.SCT.AnatomicalStructure, codes.SCT.Liver),
    ("liver tumour", TUMOR, codes.SCT.MorphologicallyAbnormalStructure, codes.SCT.Neoplasm),
)


def write_dicom_seg(path: Path | str, labels: np.ndarray, series: Path | str, network: str) -> None:
    """Write labels as a DICOM SEG that refers to the series they were drawn on.

    A segment without any voxel is left out; the liver's holds its tumours. DICOM PS3.3, A.51.

    Args:
        path: The file, written aside and renamed.
        labels: (X, Y, Z) uint8, RAS, on the grid that `scans.case_from_dicom(series)` returns.
        series: Folder or archive of the CT series.
        network: Name of the network that drew them.

    Raises:
        BadInput: As `scans.read_dicom_slices`; empty_mask, many_series, no_reference.
    """
    if not labels.any():
        raise BadInput(
            f"{path} was not written: DICOM has no segmentation without a segment.",
            fault="empty_mask",
        )
    slices = _source_slices(Path(series))
    stored = turn_from_ras(labels, dicom_affine(slices)).T
    segments = [segment for segment in SEGMENTS if (labels >= segment[1]).any()]
    masks = np.stack([stored >= lowest for _, lowest, _, _ in segments], axis=-1)
    segmentation = _segmentation(Path(series), slices, masks, segments, network)
    _leave_out_what_is_optional(segmentation)
    with written_aside(path) as aside:
        segmentation.save_as(aside)


def check_dicom_seg(series: Path | str) -> None:
    """Refuse, before hours of work, a series that no DICOM SEG can refer to.

    One of a single voxel is built and thrown away, so that whatever its writer asks for is asked.

    Raises:
        BadInput: As `scans.read_dicom_slices`; many_series, no_reference.
    """
    slices = _source_slices(Path(series))
    mask = np.zeros((len(slices), slices[0].Rows, slices[0].Columns, 1), bool)
    mask[0, 0, 0] = True
    _segmentation(Path(series), slices, mask, SEGMENTS[:1], "check")


def _segmentation(
    series: Path, slices: list[Dataset], masks: np.ndarray, segments: Sequence[tuple], network: str
) -> hd.seg.Segmentation:
    advice = "no DICOM SEG can refer to it, so leave that out or export the series again"
    with warnings.catch_warnings(), damage_named(series, advice, "no_reference"):
        # Names are the hospital's, or an anonymiser's: "patient-017" is as good as any here.
        warnings.filterwarnings("ignore", "The string .* person name")
        return hd.seg.Segmentation(
            source_images=slices,
            pixel_array=masks.view(np.uint8),
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[
                _describe(number, segment, network) for number, segment in enumerate(segments, 1)
            ],
            series_instance_uid=generate_uid(),
            series_number=int(slices[0].get("SeriesNumber") or 0) + 100,
            sop_instance_uid=generate_uid(),
            instance_number=1,
            manufacturer=MAKER,
            manufacturer_model_name=network,
            software_versions=version("liverutils"),
            device_serial_number="0",
            content_label="LIVER",
            series_description=f"Liver and tumours, {network}",
            # Whatever the series is written in, Japanese with its escapes for one, can be in this.
            specific_character_set="ISO_IR 192",
        )


def _leave_out_what_is_optional(segmentation: Dataset) -> None:
    """Remove what highdicom copies about patient and study beyond what DICOM asks for."""
    for element in list(segmentation):
        is_patient = element.tag.group == PATIENT_GROUP and element.keyword not in PATIENT_AND_STUDY
        if is_patient or element.keyword in OPTIONAL_OF_STUDY:
            del segmentation[element.tag]


def _source_slices(series: Path) -> list[Dataset]:
    """Read the slices of the series without their pixels, in the order of `dicom_affine`."""
    read = read_dicom_slices(series)
    series_uids = {str(uid) for uid in values_of(read, "SeriesInstanceUID")}
    _check_references(series, read, series_uids)
    frame = generate_uid(entropy_srcs=sorted(series_uids))
    for _, dataset in read:
        del dataset.PixelData
        dataset.decode()
        # What anonymisers leave out or empty, and DICOM asks for; None stands for unknown.
        dataset.FrameOfReferenceUID = dataset.get("FrameOfReferenceUID") or frame
        dataset.setdefault("SliceThickness", None)
        for name in PATIENT_AND_STUDY:
            _keep_if_valid(dataset, name)
    return [dataset for _, dataset in read]


def _check_references(series: Path, slices: Sequence[Slice], series_uids: set[str]) -> None:
    for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        for (path, _), uid in zip(slices, values_of(slices, keyword), strict=True):
            if not uid:
                raise BadInput(
                    f"{path} has no {keyword}, by which a DICOM SEG would refer to it: leave the"
                    " DICOM SEG out.",
                    fault="no_reference",
                )
    if len(series_uids) > 1:
        raise BadInput(
            f"{series} gives every slice a series of its own, and a DICOM SEG refers to one: write "
            "the mask as NIfTI only.",
            fault="many_series",
        )
    seen: dict[str, Path] = {}
    for (path, _), uid in zip(slices, values_of(slices, "SOPInstanceUID"), strict=True):
        if uid in seen:
            raise BadInput(
                f"{path} and {seen[uid].name} have one SOPInstanceUID, by which a DICOM SEG would"
                " refer to either: leave the DICOM SEG out.",
                fault="no_reference",
            )
        seen[uid] = path


def _keep_if_valid(dataset: Dataset, keyword: str) -> None:
    """Empty what is not of its kind, such as the birth date 00000000, and what is missing."""
    value = dataset.get(keyword)
    kinds = {"DA": DA, "TM": TM}
    try:
        kind = kinds.get(dictionary_VR(keyword), str)
        kind(value or "")
        is_valid = keyword != "PatientSex" or value in ("M", "F", "O", "")
    except ValueError:
        is_valid = False
    setattr(dataset, keyword, value if is_valid else None)


def _describe(number: int, segment: tuple, network: str) -> hd.seg.SegmentDescription:
    name, label, category, kind = segment
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=category,
        segmented_property_type=kind,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=network, version=version("liverutils"), family=codes.DCM.ArtificialIntelligence
        ),
        anatomic_regions=[codes.SCT.Liver] if label == TUMOR else None,
    )
