"""The data sets we know: where they come from, how they lie on disk, and what they share.

Every source is read from a folder, a zip or a tar, without unpacking, and ends in the same `Case`.
"""

import hashlib
import io
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from liverutils.datasets.archives import is_archive, list_files, on_disk, open_file, read_files
from liverutils.datasets.dicom import (
    case_from_dicom,
    dicom_affine,
    read_dicom_mask,
    read_dicom_slices,
    stack_dicom,
)
from liverutils.datasets.phantom import COHORTS
from liverutils.datasets.verify import turned_axes
from liverutils.datasets.volumes import (
    LIVER,
    TUMOR,
    Case,
    case_from_nifti,
    check_case,
    check_same_grid,
    read_nifti_mask,
    turn_to_ras,
)
from liverutils.errors import BadInput

# LiTS 28 to 47 are the 20 patients of 3D-IRCADb-01, in their order.
FIRST_IRCADB_IN_LITS, N_IRCADB = 28, 20

# Labels of LiTS that fit their image voxel for voxel although the affines say otherwise.
LITS_MASK_FITS = {*range(FIRST_IRCADB_IN_LITS, FIRST_IRCADB_IN_LITS + N_IRCADB), 53}

FINGERPRINT_BYTES = 1 << 16

# Names of the PNG files of a LiTS volume, without the slice: the pictures and the two masks.
PNG_KINDS = ("volume-{}", "segmentation-{}_livermask", "segmentation-{}_lesionmask")

MASK_WORDS = {"mask", "masks", "seg", "segmentation", "segmentations", "label", "labels"}
IMAGE_WORDS = {"image", "images", "volume", "volumes", "scan", "scans", "ct", "dicom"}


@dataclass(frozen=True)
class CaseFiles:
    """The files of one scan, found but not read; small, and safe to send to another process.

    Attributes:
        source: Name of the data set.
        patient: The person; the same in every data set that has the person.
        volume: The scan, unique within its data set.
        image: NIfTI file, or place of a DICOM series or of PNG slices; may lie in an archive.
        mask: The same for the labels, or None.
        read: Turns these files into a Case.
    """

    source: str
    patient: str
    volume: str
    image: Path
    mask: Path | None
    read: Callable[["CaseFiles"], Case]

    def load(self) -> Case:
        """Read image and labels. Raises BadInput, with the fault's name, where they are unfit."""
        return self.read(self)

    @property
    def provenance(self) -> dict[str, str]:
        """Source and names of the files, without the folders of this machine."""
        files = {"image": self.image.name, "mask": self.mask.name if self.mask else ""}
        return {"source": self.source, **files}


@dataclass(frozen=True)
class Download:
    """A file to fetch: its address, size in bytes and checksum ("md5:…"), None where unknown."""

    url: str
    name: str
    n_bytes: int | None = None
    checksum: str | None = None


@dataclass(frozen=True)
class Source:
    """A data set.

    Attributes:
        name: As the command line knows it.
        title: As a reader knows it.
        licence: Under which the data may be used.
        citation: What a publication should cite.
        url: The data set's own page.
        layout: What the raw folder or archive holds, in one phrase.
        find: Lists the scans below a folder or archive.
        downloads: What `liverutils fetch` gets.
        by_hand: Where there is nothing to fetch, how one comes by the data.
        shares: Which patients are also in another data set.
    """

    name: str
    title: str
    licence: str
    citation: str
    url: str
    layout: str
    find: Callable[[Path], list[CaseFiles]]
    downloads: tuple[Download, ...] = ()
    by_hand: str = ""
    shares: str = ""


def find_cases(source: str, raw: Path | str) -> list[CaseFiles]:
    """List the scans of a data set below a folder or archive, without reading voxels.

    Raises:
        BadInput: unknown_source, missing, no_cases, duplicate_cases, broken_archive,
            encrypted_archive, unsafe_archive.
    """
    known = known_source(source)
    cases = known.find(Path(raw))
    if not cases:
        raise BadInput(
            f"{raw} holds no scans of {source}; expected {known.layout}.", fault="no_cases"
        )
    return cases


def read_scan(place: Path | str) -> Case:
    """Read one scan without labels: a NIfTI file, or the folder or archive of a CT series.

    Raises:
        BadInput: As `volumes.case_from_nifti` and `dicom.case_from_dicom`; missing.
    """
    place = Path(place)
    name = place.name.split(".")[0]
    read = case_from_nifti if is_nifti(place) else case_from_dicom
    return read(place, patient=name, volume=name)


def is_nifti(path: Path) -> bool:
    """Say whether the name is that of a NIfTI file."""
    return re.search(r"\.nii(\.gz)?$", path.name) is not None


def known_source(name: str) -> Source:
    """Return the data set of this name. Raises BadInput, unknown_source."""
    if name not in SOURCES:
        raise BadInput(
            f"{name!r} is no data set we know; take one of {', '.join(SOURCES)}.",
            fault="unknown_source",
        )
    return SOURCES[name]


def fingerprint(cases: Iterable[CaseFiles]) -> str:
    """Return a sha256 that tells whether two machines hold the same scans.

    It covers the names of the scans and, of every file on disk that holds them, the name relative
    to their common folder, the size, and the first and last 64 KiB.
    """
    cases = sorted(cases, key=lambda case: (case.source, case.volume))
    digest = hashlib.sha256()
    for case in cases:
        digest.update(f"{case.source}/{case.patient}/{case.volume}\n".encode())
    places = {on_disk(place) for case in cases for place in (case.image, case.mask) if place}
    files = {file for place in places for file in _files_on_disk(place)}
    root = Path(os.path.commonpath([file.parent for file in files]))
    for file in sorted(files, key=lambda file: file.relative_to(root).as_posix()):
        size = file.stat().st_size
        digest.update(f"{file.relative_to(root).as_posix()}:{size}\n".encode())
        with file.open("rb") as stream:
            digest.update(stream.read(FINGERPRINT_BYTES))
            stream.seek(max(size - FINGERPRINT_BYTES, 0))
            digest.update(stream.read(FINGERPRINT_BYTES))
    return digest.hexdigest()


def lits_patient(number: int) -> str:
    """Return the patient of a LiTS or MSD volume, who may be one of 3D-IRCADb-01."""
    in_ircadb = number - FIRST_IRCADB_IN_LITS
    if 0 <= in_ircadb < N_IRCADB:
        return f"ircadb-{in_ircadb + 1:02d}"
    return f"lits-{number:03d}"


def _files_on_disk(place: Path) -> list[Path]:
    return list_files(place) if place.is_dir() else [place]


def _list_all(raw: Path) -> list[Path]:
    """List the files below a folder or archive, and those in the archives directly in it."""
    files = list_files(raw)
    inner = [file for file in files if is_archive(file)]
    return [file for file in files if file not in inner] + [
        file for archive in inner for file in list_files(archive)
    ]


def _match(files: Iterable[Path], pattern: str) -> dict[int, Path]:
    """Return the files whose names match, by the number in the pattern's group, in order."""
    found: dict[int, Path] = {}
    for file in files:
        if match := re.fullmatch(pattern, file.name):
            number = int(match[1])
            if number in found:
                raise BadInput(
                    f"{file} and {found[number]} are both number {number}; remove one.",
                    fault="duplicate_cases",
                )
            found[number] = file
    return dict(sorted(found.items()))


def _read_nifti_case(files: CaseFiles, mask_fits: bool = False) -> Case:
    return case_from_nifti(
        files.image,
        files.mask,
        patient=files.patient,
        volume=files.volume,
        provenance=files.provenance,
        mask_fits=mask_fits,
    )


def _find_phantom(cohort: str, raw: Path) -> list[CaseFiles]:
    files = _list_all(raw)
    masks = _match(files, r"segmentation-(\d+)\.nii(?:\.gz)?")
    return [
        CaseFiles(
            cohort,
            f"{cohort}-{number:03d}",
            f"{number:03d}",
            image,
            masks.get(number),
            _read_nifti_case,
        )
        for number, image in _match(files, r"volume-(\d+)\.nii(?:\.gz)?").items()
    ]


def _find_lits(raw: Path) -> list[CaseFiles]:
    files = _list_all(raw)
    masks = _match(files, r"segmentation-(\d+)\.nii(?:\.gz)?")
    return [
        _lits_case("lits", number, f"volume-{number}", image, masks.get(number))
        for number, image in _match(files, r"volume-(\d+)\.nii(?:\.gz)?").items()
    ]


def _find_msd(raw: Path) -> list[CaseFiles]:
    files = _list_all(raw)
    images, masks = (
        _match((file for file in files if file.parent.name == folder), r"liver_(\d+)\.nii(?:\.gz)?")
        for folder in ("imagesTr", "labelsTr")
    )
    return [
        _lits_case("msd", number, f"liver_{number}", image, masks.get(number))
        for number, image in images.items()
    ]


def _lits_case(source: str, number: int, volume: str, image: Path, mask: Path | None) -> CaseFiles:
    read = partial(_read_lits, mask_fits=number in LITS_MASK_FITS)
    return CaseFiles(source, lits_patient(number), volume, image, mask, read)


def _read_lits(files: CaseFiles, mask_fits: bool) -> Case:
    """Read a volume; where its affine is the identity, anatomy tells right from left."""
    case = _read_nifti_case(files, mask_fits)
    repairs = case.provenance["repairs"]
    if "identity_affine" not in repairs or not (turned := turned_axes(case)):
        return case
    detail = f"{repairs['identity_affine']}, turned because {' and '.join(turned.values())}"
    return replace(
        case,
        image=np.flip(case.image, tuple(turned)),
        mask=np.flip(case.mask, tuple(turned)),
        provenance={**case.provenance, "repairs": {**repairs, "identity_affine": detail}},
    )


def _find_ircadb(raw: Path) -> list[CaseFiles]:
    files = list_files(raw)
    parts = r".*_(DICOM|VTK)(\.zip)?"
    patients = [file for file in files if is_archive(file) and not _outermost(raw, file, parts)]
    files += [file for archive in patients for file in list_files(archive)]
    images, masks = (
        {place for file in files if (place := _outermost(raw, file, rf"{name}(\.zip)?"))}
        for name in ("PATIENT_DICOM", "MASKS_DICOM")
    )
    masks_by_patient = {place.parent: place for place in masks}
    cases = [_ircadb_case(image, masks_by_patient.get(image.parent)) for image in images]
    return sorted(cases, key=lambda case: case.patient)


def _outermost(raw: Path, file: Path, pattern: str) -> Path | None:
    """Return the outermost folder or file from `raw` down to `file` that has such a name."""
    around = [place for place in (file, *file.parents) if place.is_relative_to(raw)]
    return next((place for place in reversed(around) if re.fullmatch(pattern, place.name)), None)


def _ircadb_case(image: Path, mask: Path | None) -> CaseFiles:
    folder = image.parent.name.removesuffix(".zip")
    number = re.fullmatch(r"3Dircadb1\.(\d+)", folder)
    patient = f"ircadb-{int(number[1]):02d}" if number else f"ircadb-{folder}"
    return CaseFiles("ircadb", patient, folder, image, mask, _read_ircadb)


def _read_ircadb(files: CaseFiles) -> Case:
    """Read a patient; tumours count as liver, whether or not the liver's mask holds them."""
    image, affine, repairs = stack_dicom(read_dicom_slices(files.image))
    provenance = {**files.provenance, "repairs": repairs}
    mask = None
    if files.mask:
        structures = {file.parent.name: file.parent for file in list_files(files.mask)}
        provenance["structures"] = sorted(structures)
        mask = np.zeros_like(image, np.uint8)
        for name, label in _liver_and_tumors(structures).items():
            structure, structure_affine = read_dicom_mask(structures[name])
            check_same_grid(
                structures[name], image.shape, affine, structure.shape, structure_affine
            )
            np.copyto(mask, label, where=structure.view(bool))
    return Case(files.patient, files.volume, image, mask, affine, provenance=provenance)


def _liver_and_tumors(structures: Iterable[str]) -> dict[str, int]:
    """Return the label of each structure that is one, tumours last, so that they lie on top."""
    livers = {name: LIVER for name in structures if name.lower() == "liver"}
    tumors = {
        name: TUMOR
        for name in structures
        if re.fullmatch(r"liver[ _]?tumou?rs?[ _]?\d*", name.lower())
    }
    return {**livers, **tumors}


def _find_lits_png(raw: Path) -> list[CaseFiles]:
    """List the volumes with the slices and masks they have, which are too many to list twice."""
    places, numbers = {}, defaultdict(lambda: {kind: [] for kind in PNG_KINDS})
    for file in _list_all(raw):
        if match := re.fullmatch(
            r"(volume|segmentation)-(\d+)(_[a-z]+mask)?_(\d+)\.png", file.name
        ):
            volume, kind = int(match[2]), match[1] + "-{}" + (match[3] or "")
            numbers[volume].setdefault(kind, []).append(int(match[4]))
            if match[1] == "volume":
                places[volume] = file.parent
    return [
        CaseFiles(
            "lits-png",
            lits_patient(volume),
            f"volume-{volume}",
            places[volume],
            _png_masks(places[volume]),
            partial(
                _read_lits_png,
                numbers={kind: sorted(found) for kind, found in numbers[volume].items()},
            ),
        )
        for volume in sorted(places)
    ]


def _png_masks(images: Path) -> Path:
    """Return where the masks lie: beside the folder `volumes`, or all in one folder."""
    return images.with_name("segmentations") if images.name == "volumes" else images


def _read_lits_png(files: CaseFiles, numbers: dict[str, list[int]]) -> Case:
    """Read the slices of one volume, given the numbers of those that there are of each kind.

    The spine is at the top of these pictures and the liver on their right: columns grow to the
    patient's right and rows to the front, as RAS has it, and slices are counted towards the head.
    """
    volume = files.volume.removeprefix("volume-")
    indices = numbers[PNG_KINDS[0]]
    _check_numbers(files.image / files.volume, indices)
    paths = []
    for kind, place in zip(PNG_KINDS, (files.image, files.mask, files.mask), strict=True):
        name = kind.format(volume)
        if numbers[kind] != indices:
            raise BadInput(
                f"{place} has {len(numbers[kind])} files {name} for {len(indices)} slices;"
                " download it again.",
                fault="different_grids",
            )
        paths += [place / f"{name}_{index}.png" for index in indices]
    pictures = _read_pictures(paths[: len(indices)], np.int16)
    livers, lesions = np.split(_read_pictures(paths[len(indices) :]), 2)
    if livers.shape != pictures.shape:
        raise BadInput(
            f"The masks of {files.image} ({files.volume}) have {livers.shape[1:]} pixels and its"
            f" slices {pictures.shape[1:]}; download them again.",
            fault="different_grids",
        )
    mask = (livers != 0) * np.uint8(LIVER)
    np.copyto(mask, TUMOR, where=lesions != 0)
    case = Case(
        files.patient,
        files.volume,
        pictures.T,
        mask.T,
        np.eye(4),
        spacing_known=False,
        intensity="grey",
        provenance=files.provenance,
    )
    check_case(case, f"{files.image} ({files.volume})")
    return case


def _check_numbers(place: Path, numbers: Sequence[int]) -> None:
    missing = sorted(set(range(numbers[0], numbers[-1] + 1)) - set(numbers))
    if missing:
        raise BadInput(
            f"{place} lacks slice {missing[0]}; download it again.", fault="missing_slices"
        )


def _read_pictures(paths: Sequence[Path], dtype: type = np.uint8) -> np.ndarray:
    """Read 8-bit pictures of one size, grey or RGB with equal channels, as (N, rows, columns)."""
    stack = None
    for index, (path, content) in enumerate(read_files(paths)):
        picture = _decode(path, content)
        if stack is None:
            stack = np.empty((len(paths), *picture.shape), dtype)
        if picture.shape != stack.shape[1:]:
            raise BadInput(
                f"{path} has {picture.shape} pixels and the first slice {stack.shape[1:]}; use"
                " slices of one size.",
                fault="different_grids",
            )
        stack[index] = picture
    return stack


def _decode(path: Path, content: bytes) -> np.ndarray:
    try:
        picture = np.asarray(Image.open(io.BytesIO(content)))
    except (OSError, SyntaxError) as error:  # what Pillow raises for broken pictures
        raise BadInput(
            f"{path} is no complete picture; copy or download it again.", fault="unreadable_pixels"
        ) from error
    return picture if picture.ndim == 2 else picture[..., 0]


def _find_chaos(raw: Path) -> list[CaseFiles]:
    files = _list_all(raw)
    labelled = {file.parent.with_name("DICOM_anon") for file in files if file.suffix == ".png"}
    places = {}
    for file in files:
        if file.parent.name == "DICOM_anon" and file.parent.parent.parent.name == "CT":
            places[file.parent] = int(file.parent.parent.name)
    return [
        CaseFiles(
            "chaos",
            f"chaos-{number:02d}",
            f"CT-{number}",
            place,
            place.with_name("Ground") if place in labelled else None,
            _read_chaos,
        )
        for place, number in sorted(places.items(), key=lambda item: item[1])
    ]


def _read_chaos(files: CaseFiles) -> Case:
    """Read a series and its liver masks, which are paired in the order of their names."""
    slices = read_dicom_slices(files.image)
    names = sorted(path.name for path, _ in slices)
    order = [names.index(path.name) for path, _ in slices]
    stored_affine = dicom_affine([dataset for _, dataset in slices])
    image, affine, repairs = stack_dicom(slices)
    mask = None
    if files.mask:
        pictures = sorted(_match(list_files(files.mask), r".*?(\d+)\.png").values())
        if len(pictures) != len(order):
            raise BadInput(
                f"{files.mask} has {len(pictures)} masks for {len(order)} slices; download it"
                " again.",
                fault="different_grids",
            )
        stack = _read_pictures([pictures[index] for index in order])
        mask, mask_affine = turn_to_ras((stack != 0).view(np.uint8).T, stored_affine)
        check_same_grid(files.mask, image.shape, affine, mask.shape, mask_affine)
    provenance = {**files.provenance, "repairs": repairs}
    return Case(files.patient, files.volume, image, mask, affine, provenance=provenance)


def _find_folder(raw: Path) -> list[CaseFiles]:
    """List one's own scans: every NIfTI file that is no mask, and every folder or zip of DICOM.

    A mask is a NIfTI file with a mark: `mask-NAME`, `NAME_mask`, `masks/NAME` or `NAME/mask`. It
    belongs to the scan that has the same name without marks. The first folder names the patient; in
    an archive that is one packed folder, the first below that.
    """
    files = list_files(raw)
    own_folder = raw / raw.name.split(".")[0]
    if is_archive(raw) and all(file.is_relative_to(own_folder) for file in files):
        raw = own_folder
    niftis = [file for file in files if is_nifti(file)]
    masks = by_name(raw, (file for file in niftis if _is_mask(file)))
    images = by_name(raw, (file for file in niftis if not _is_mask(file)))
    series = by_name(raw, _dicom_places(files))
    return [
        CaseFiles(
            "folder", name.split("/")[0], name.replace("/", "-"), place, masks.get(name), read
        )
        for places, read in ((images, _read_nifti_case), (series, _read_dicom_case))
        for name, place in sorted(places.items())
    ]


def _is_mask(file: Path) -> bool:
    words = re.split(r"[-_]", file.name.split(".nii")[0].lower())
    return not MASK_WORDS.isdisjoint({words[0], words[-1], file.parent.name.lower()})


def by_name(raw: Path, places: Iterable[Path]) -> dict[str, Path]:
    """Return the places by the names of their folders and files, without marks and suffixes.

    `bert/mask.nii.gz`, `bert_mask.nii` and `segmentation-bert.nii.gz` are all named `bert`.

    Raises:
        BadInput: duplicate_cases.
    """
    named: dict[str, Path] = {}
    for place in places:
        parts = map(_without_marks, place.relative_to(raw).parts or (raw.name,))
        name = "/".join(part for part in parts if part) or raw.name
        if name in named:
            raise BadInput(
                f"{place} and {named[name]} are both scan {name}; rename one.",
                fault="duplicate_cases",
            )
        named[name] = place
    return named


def _without_marks(name: str) -> str:
    """Return `bert` for `bert_mask.nii.gz` and `volume-bert.nii`, and nothing for `images`."""
    words = re.split(r"([-_])", re.sub(r"\.nii(\.gz)?$|\.zip$", "", name))
    marks = MASK_WORDS | IMAGE_WORDS
    while words and words[0].lower() in marks:
        words = words[2:]
    while words and words[-1].lower() in marks:
        words = words[:-2]
    return "".join(words)


def _dicom_places(files: list[Path]) -> set[Path]:
    """Return the folders and archives whose first files are DICOM."""
    members = defaultdict(list)
    for file in files:
        if is_archive(file):
            members[file] = list_files(file)
        else:
            members[file.parent].append(file)
    return {place for place, inside in members.items() if any(map(_is_dicom, inside[:3]))}


def _is_dicom(file: Path) -> bool:
    with open_file(file) as stream:
        return stream.read(132)[128:] == b"DICM"


def _read_dicom_case(files: CaseFiles) -> Case:
    case = case_from_dicom(
        files.image, patient=files.patient, volume=files.volume, provenance=files.provenance
    )
    if files.mask is None:
        return case
    mask, mask_affine = read_nifti_mask(files.mask)
    check_same_grid(files.mask, case.image.shape, case.affine, mask.shape, mask_affine)
    case = replace(case, mask=mask)
    check_case(case, str(files.mask))
    return case


def _phantom_source(cohort: str) -> Source:
    return Source(
        name=cohort,
        title=f"Synthetic CT cohort {cohort}",
        licence="Apache-2.0, as this repository",
        citation="This repository",
        url="",
        layout="volume-NNN.nii.gz and segmentation-NNN.nii.gz, as `liverutils phantom` writes them",
        find=partial(_find_phantom, cohort),
        by_hand=f"make it with `liverutils phantom --cohort {cohort}`",
    )


SOURCES: dict[str, Source] = {
    **{cohort: _phantom_source(cohort) for cohort in COHORTS},
    "ircadb": Source(
        name="ircadb",
        title="3D-IRCADb-01",
        licence="CC BY-NC-ND 3.0",
        citation="Soler et al. 2010. 3D image reconstruction for comparison of algorithm database:"
        " a patient specific anatomical and medical image database. IRCAD, Strasbourg.",
        url="https://www.ircad.fr/research/data-sets/liver-segmentation-3d-ircadb-01/",
        layout="3Dircadb1.N folders or zips with PATIENT_DICOM and MASKS_DICOM",
        find=_find_ircadb,
        # The server packs the archive anew for each download, so it has no lasting checksum.
        downloads=(
            Download(
                "https://cloud.ircad.fr/index.php/s/JN3z7EynBiwYyjy/download", "3Dircadb1.zip"
            ),
        ),
        shares="All 20 patients are LiTS volumes 28 to 47.",
    ),
    "lits": Source(
        name="lits",
        title="LiTS, training set",
        licence="CC BY-NC-ND 4.0",
        citation="Bilic et al. 2023. The Liver Tumor Segmentation Benchmark (LiTS). Medical Image"
        " Analysis 84, 102680. https://doi.org/10.1016/j.media.2022.102680",
        url="https://competitions.codalab.org/competitions/17094",
        layout="volume-N.nii and segmentation-N.nii, plain or gzipped",
        find=_find_lits,
        by_hand="register at https://competitions.codalab.org/competitions/17094 and follow the"
        " links there, or take the same scans as Task03 with `liverutils fetch msd`",
        shares="Volumes 28 to 47 are the patients of 3D-IRCADb-01; MSD Task03 is this set.",
    ),
    "msd": Source(
        name="msd",
        title="Medical Segmentation Decathlon, Task03 Liver",
        licence="CC BY-SA 4.0",
        citation="Antonelli et al. 2022. The Medical Segmentation Decathlon. Nature Communications"
        " 13, 4128. https://doi.org/10.1038/s41467-022-30695-9",
        url="http://medicaldecathlon.com/",
        layout="Task03_Liver with imagesTr/liver_N.nii.gz and labelsTr/liver_N.nii.gz",
        find=_find_msd,
        # Size and checksum as in MONAI's DecathlonDataset.
        downloads=(
            Download(
                "https://msd-for-monai.s3-us-west-2.amazonaws.com/Task03_Liver.tar",
                "Task03_Liver.tar",
                28_925_891_584,
                "md5:a90ec6c4aa7f6a3d087205e23d4e6397",
            ),
        ),
        shares="This is the LiTS training set, with the patients of 3D-IRCADb-01 as 28 to 47.",
    ),
    "lits-png": Source(
        name="lits-png",
        title="LiTS as PNG slices",
        licence="CC BY-NC-ND 4.0, that of LiTS",
        citation="Bilic et al. 2023. The Liver Tumor Segmentation Benchmark (LiTS). Medical Image"
        " Analysis 84, 102680. https://doi.org/10.1016/j.media.2022.102680",
        url="https://www.kaggle.com/datasets/andrewmvd/lits-png",
        layout="volume-N_Z.png and segmentation-N_livermask_Z.png, segmentation-N_lesionmask_Z.png",
        find=_find_lits_png,
        by_hand="log in at https://www.kaggle.com/datasets/andrewmvd/lits-png and get it there",
        shares="Made from LiTS: volumes 28 to 47 are the patients of 3D-IRCADb-01.",
    ),
    "chaos": Source(
        name="chaos",
        title="CHAOS, CT",
        licence="CC BY-NC-SA 4.0",
        citation="Kavur et al. 2021. CHAOS Challenge: combined (CT-MR) healthy abdominal organ"
        " segmentation. Medical Image Analysis 69, 101950."
        " https://doi.org/10.1016/j.media.2020.101950",
        url="https://doi.org/10.5281/zenodo.3431873",
        layout="CT/N/DICOM_anon and CT/N/Ground/*.png",
        find=_find_chaos,
        downloads=(
            Download(
                "https://zenodo.org/records/3431873/files/CHAOS_Train_Sets.zip",
                "CHAOS_Train_Sets.zip",
                890_771_694,
                "md5:df21053002a1cc86df918a87da3b2c19",
            ),
        ),
        shares="None. Healthy livers: there are no tumours.",
    ),
    "folder": Source(
        name="folder",
        title="One's own scans",
        licence="Yours to know",
        citation="Yours to know",
        url="",
        layout="NIfTI files, or folders or zips of a DICOM series each, and NAME_mask.nii.gz",
        find=_find_folder,
        by_hand="these scans are your own",
    ),
}
