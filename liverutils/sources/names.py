"""What the names of files and folders say: whose scan, which mask, which part of the liver."""

import re
from collections.abc import Iterable
from pathlib import Path

from liverutils.errors import BadInput

MASK_WORDS = {
    *("mask", "masks", "seg", "segs", "segmentation", "segmentations", "label", "labels", "gt"),
    *("groundtruth", "labelstr", "labelsts"),
}
IMAGE_WORDS = {
    *("image", "images", "volume", "volumes", "scan", "scans", "ct", "dicom"),
    *("imagestr", "imagests"),
}
LIVER_WORDS = {"liver"}
TUMOR_WORDS = {
    *("tumor", "tumors", "tumour", "tumours", "lesion", "lesions", "cancer", "livertumor"),
    *("livertumors", "livertumour", "livertumours"),
}


# Folders of a split or a collection, which are no patients, perhaps with a number.
SPLIT_WORDS = {
    *("train", "training", "tr", "test", "testing", "ts", "val", "valid", "validation", "holdout"),
    *("fold", "batch", "part", "set", "cohort", "group", "site", "center", "centre", "hospital"),
    *("data", "dataset", "raw", "nifti", "nii", "dcm", "cases", "patients", "subjects", "cd"),
    *("healthy", "internal", "external"),
}


# What tells two scans of one patient apart, at the end of a name.
PHASE_WORDS = {
    *("arterial", "art", "portal", "venous", "portalvenous", "pv", "pvp", "delayed", "late"),
    *("early", "native", "nc", "nce", "noncontrast", "unenhanced", "plain", "contrast", "pre"),
    *("post", "baseline", "followup", "fu", "phase"),
}
NUMBERED_WORDS = r"(t|tp|timepoint|visit|day|week|month|year|phase|series|study|scan)\d+"
DATE = r"(19|20)\d{2}([-_.]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])"


# nnU-Net numbers the channels of an image; the first is the CT.
CHANNEL = r"_000\d$"


def stem(name: str) -> str:
    """Return a file's name without the suffixes that are read here."""
    return re.sub(r"\.nii(\.gz)?$|\.zip$", "", name, flags=re.IGNORECASE)


def words_of(name: str) -> list[str]:
    """Return the words of a name, in small letters."""
    return [word for word in re.split(r"[-_. ]", stem(name).lower()) if word]


def is_mask(file: Path) -> bool:
    """Say whether a mark in its name or its folder's makes a file a mask."""
    marks = {word for name in (file.name, file.parent.name) for word in _ends(words_of(name))}
    return not MASK_WORDS.isdisjoint(marks)


def _ends(words: list[str]) -> list[str]:
    return [*words[:1], *words[-1:]]


def structure_of(file: Path) -> str | None:
    """Return "liver" or "tumor" where a file's name ends in one: `NAME_liver`, `NAME/tumor`."""
    words = [word for word in words_of(file.name) if word not in MASK_WORDS]
    if words and words[-1] in TUMOR_WORDS:
        return "tumor"
    return "liver" if words and words[-1] in LIVER_WORDS else None


def scan_name(raw: Path, place: Path, structure: bool = False) -> str:
    """Return the name of a scan from its folders and file below `raw`, without marks and suffixes.

    `bert/mask.nii.gz`, `bert_mask.nii`, `segmentation-bert.nii.gz`, `bert_gt.nii`, `bert.seg.nii`,
    `labelsTr/bert.nii.gz` and `imagesTr/bert_0000.nii.gz` are all named `bert`, and with
    `structure` `bert_liver.nii.gz` too.
    """
    marks = MASK_WORDS | IMAGE_WORDS
    marks |= LIVER_WORDS | TUMOR_WORDS if structure else set()
    parts = place.relative_to(raw).parts or (raw.name,)
    named = [_without(part, marks) for part in parts]
    return "/".join(part for part in named if part) or raw.name


def by_name(raw: Path, places: Iterable[Path], structure: bool = False) -> dict[str, Path]:
    """Return the places by `scan_name`.

    Raises:
        BadInput: duplicate_cases.
    """
    named: dict[str, Path] = {}
    for place in places:
        name = scan_name(raw, place, structure)
        if name in named:
            raise BadInput(
                f"{place} and {named[name]} are both scan {name}; rename one.",
                fault="duplicate_cases",
            )
        named[name] = place
    return named


def patient_of(name: str) -> str:
    """Return whose scan `scan_name` names: its first folder that is no split, without the phase.

    `p1_arterial`, `p1_portal` and `p1_2021-03-04` are one patient, so that no split parts them, and
    so are `baseline/p1` and `followup/p1`.
    """
    parts = [part for part in name.split("/") if not _is_collection(part)]
    first = parts[0] if parts else name.rpartition("/")[2]
    shorter = re.sub(rf"[-_. ]{DATE}$", "", first)
    words = re.split(r"([-_. ])", shorter)
    while len(words) > 2 and _tells_scans_apart(words[-1].lower()):
        words = words[:-2]
    return "".join(words)


def _is_collection(folder: str) -> bool:
    """Say whether a folder holds several patients: a split, a phase, a date, `batch 1`."""
    words = [word for word in re.split(r"[-_. ]|(?<=[a-z])(?=\d)", folder.lower()) if word]
    kinds = [word for word in words if not word.isdigit()]
    if re.fullmatch(DATE, folder):
        return True
    return bool(kinds) and all(word in SPLIT_WORDS or _tells_scans_apart(word) for word in kinds)


def _tells_scans_apart(word: str) -> bool:
    return word in PHASE_WORDS or re.fullmatch(NUMBERED_WORDS, word) is not None


def _without(name: str, marks: set[str]) -> str:
    """Return `bert` for `bert_mask.nii.gz` and `volume-bert.nii`, and nothing for `images`."""
    words = re.split(r"([-_.])", re.sub(CHANNEL, "", stem(name)))
    while words and words[0].lower() in marks:
        words = words[2:]
    while words and words[-1].lower() in marks:
        words = words[:-2]
    return "".join(words)
