"""Every fault of a scan by its name: how bad it is, what it means, and what to do."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One fault of one scan, and in a sentence what is wrong and what to do."""

    fault: str
    severity: Severity
    sentence: str


# The files' faults come with a sentence of their own, which names the file.
FAULTS: dict[str, tuple[Severity, str]] = {
    # Files
    "missing": ("error", "The path does not exist; check it."),
    "not_used": ("error", "It lies among the scans and is read for none; rename it."),
    "no_cases": ("error", "The folder holds no scans of this data set; check path and source."),
    "unreadable_scan": ("error", "The scan cannot be read; export it again or leave it out."),
    "unknown_source": ("error", "No data set of this name is known."),
    "duplicate_cases": ("error", "Two files claim to be the same scan; remove one."),
    "broken_archive": ("error", "The archive is cut short or damaged; download it again."),
    "encrypted_archive": ("error", "The archive is encrypted; unpack it first."),
    "unsafe_archive": ("error", "The archive holds links or paths that escape; do not use it."),
    "unreadable_pixels": ("error", "The pixels cannot be decoded; export without compression."),
    "nested_archives": ("error", "Archives lie in each other too deep; unpack the outer ones."),
    "unknown_format": ("error", "The file is neither NIfTI nor DICOM; convert it."),
    "no_reference": ("error", "No DICOM SEG can refer to the series; leave that out."),
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
    "damaged_slices": ("error", "Slices cannot be read, so the scan is not whole; copy it again."),
    "bad_header": ("error", "A slice's header holds what cannot be; export the series again."),
    "mixed_spacing": ("error", "Slices have pixels of different sizes; give one reconstruction."),
    "two_phases": ("error", "A series holds several phases; give one of them."),
    "other_phases": (
        "warning",
        "A series holds several phases; that which the labels were drawn on was taken.",
    ),
    "two_volumes": ("error", "A series holds two sub-volumes; give one of them."),
    "other_objects": ("warning", "Beside the series lie other objects, which were passed over."),
    "passed_over": ("warning", "Files that are not DICOM were passed over."),
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
    "not_seg": ("error", "The file is no DICOM SEG that can be read; export it again."),
    "no_liver_segment": ("error", "The DICOM SEG has no segment named liver; name it so."),
    # Image and labels
    "single_slice": ("error", "The volume has one slice; give at least two."),
    "different_grids": ("error", "Image and labels lie on different grids; resample one."),
    "unknown_labels": ("error", "Labels other than 0, 1 and 2 occur; relabel them."),
    "scaled_labels": ("warning", "The labels were not 0, 1 and 2; it was clear which are meant."),
    "probabilities": ("warning", "The mask held probabilities; they were cut at one half."),
    "no_labels": ("warning", "There are no labels: the scan can be segmented, not learned from."),
    "empty_mask": ("error", "No voxel is labelled liver; find the right labels or leave it out."),
    "padding": ("warning", "Values below the CT scale were raised to -1024 HU."),
    # Are these HU?
    "twice_rescaled": ("error", "The intercept was applied twice; add 1024 to every voxel."),
    "not_rescaled": (
        "error",
        "The intercept was not applied; subtract 1024 from every voxel but the padding.",
    ),
    "eight_bit": ("error", "These are 8-bit grey values; export the scan in HU."),
    "normalised": ("error", "The values were scaled to a small range; export the scan in HU."),
    "scaled_hu": ("error", "These are HU times a factor; undo it or export the scan again."),
    "not_hu": (
        "error",
        "These are no HU of a CT: an MR, or a map of a material? Give a CT in HU.",
    ),
    "no_soft_tissue": ("error", "Hardly a voxel is soft tissue; check that these are HU."),
    "no_air": (
        "warning",
        "No voxel is air: the HU were cut off at a window, or the scan is a crop of the body.",
    ),
    # Is it an abdomen, and which way round?
    "turned_patient": ("error", "The patient lies the wrong way round; correct the affine."),
    "liver_on_left": (
        "warning",
        "The liver seems to be on the left; if it is not so in the patient, correct the affine.",
    ),
    "liver_not_covered": ("warning", "The liver may not be in this scan, or not all of it."),
    # Are the labels a liver's, and in place?
    "mask_gaps": ("error", "Slices within the liver have no labels; label them or leave it out."),
    "mask_cut": ("warning", "The labels end as if cut off; are all slices of the liver labelled?"),
    "liver_volume": ("error", "The labels are no whole liver; find the right ones."),
    "tumor_only": (
        "error",
        "The labels lie within an organ: tumours without their liver, or a part of it; add the"
        " liver as 1 and keep tumours as 2.",
    ),
    "swapped_labels": ("error", "Liver and tumour seem to be exchanged: 1 is liver, 2 tumour."),
    "mask_off_liver": ("error", "The liver's mask does not lie on soft tissue; check the labels."),
    "turned_mask": ("error", "The labels are turned against their picture; turn them back."),
    "shifted_mask": ("error", "The mask fits better elsewhere; move it there."),
    "loose_mask": (
        "warning",
        "The labels' border does not follow the liver's; are they drawn too large?",
    ),
    "foreign_mask": ("error", "The labels fit no organ here; are they another scan's?"),
    "tumor_outside_liver": ("warning", "A tumour touches no liver; check the labels."),
}
