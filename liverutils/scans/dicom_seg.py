"""Masks as DICOM Segmentation objects, which viewers and archives show over their CT series."""

import warnings
from importlib.metadata import version
from pathlib import Path

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from liverutils.errors import BadInput
from liverutils.files import written_aside
from liverutils.scans.case import LIVER, TUMOR, turn_from_ras
from liverutils.scans.dicom import dicom_affine, read_dicom_slices

MAKER = "liver-ct-course"


PATIENT_AND_STUDY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
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
        BadInput: As `scans.read_dicom_slices`; empty_mask, many_series.
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
    with warnings.catch_warnings():
        # Names are the hospital's, or an anonymiser's: "patient-017" is as good as any here.
        warnings.filterwarnings("ignore", "The string .* person name")
        segmentation = hd.seg.Segmentation(
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
        )
    with written_aside(path) as aside:
        segmentation.save_as(aside)


def _source_slices(series: Path) -> list[Dataset]:
    """Read the slices of the series without their pixels, in the order of `dicom_affine`."""
    slices = [dataset for _, dataset in read_dicom_slices(series)]
    series_uids = {dataset.get("SeriesInstanceUID") for dataset in slices}
    if len(series_uids) > 1:
        raise BadInput(
            f"{series} gives every slice a series of its own, and a DICOM SEG refers to one: write "
            "the mask as NIfTI only.",
            fault="many_series",
        )
    frame = generate_uid(entropy_srcs=[str(uid) for uid in series_uids])
    for dataset in slices:
        del dataset.PixelData
        # What anonymisers leave out and DICOM asks for; None stands for unknown.
        dataset.setdefault("FrameOfReferenceUID", frame)
        for name in PATIENT_AND_STUDY:
            dataset.setdefault(name, None)
    return slices


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
