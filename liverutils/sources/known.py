"""The data sets we know: where they come from, how they lie on disk, and what they share.

Every source is read from a folder, a zip or a tar, without unpacking, and ends in the same `Case`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from liverutils.errors import BadInput
from liverutils.phantom import COHORTS
from liverutils.sources.chaos import find_chaos
from liverutils.sources.crlm import find_crlm
from liverutils.sources.files import CaseFiles
from liverutils.sources.folder import find_folder
from liverutils.sources.ircadb import find_ircadb
from liverutils.sources.lits import find_lits, find_msd
from liverutils.sources.phantoms import find_phantom
from liverutils.sources.pictures import find_lits_png
from liverutils.sources.totalsegmentator import find_totalsegmentator


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


def find_cases(source: str, raw: Path | str, *, copy_geometry: bool = False) -> list[CaseFiles]:
    """List the scans of a data set below a folder or archive, without reading voxels.

    Args:
        source: Name of the data set.
        raw: Folder or archive.
        copy_geometry: Take the geometry of every image for its labels in NIfTI, where they have as
            many voxels: some programs write masks without it.

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
    return [replace(case, copy_geometry=True) for case in cases] if copy_geometry else cases


def known_source(name: str) -> Source:
    """Return the data set of this name. Raises BadInput, unknown_source."""
    if name not in SOURCES:
        raise BadInput(
            f"{name!r} is no data set we know; take one of {', '.join(SOURCES)}.",
            fault="unknown_source",
        )
    return SOURCES[name]


def _phantom_source(cohort: str) -> Source:
    return Source(
        name=cohort,
        title=f"Synthetic CT cohort {cohort}",
        licence="Apache-2.0, as this repository",
        citation="This repository",
        url="",
        layout="volume-NNN.nii.gz and segmentation-NNN.nii.gz, as `liverutils phantom` writes them",
        find=partial(find_phantom, cohort),
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
        find=find_ircadb,
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
        find=find_lits,
        by_hand="register at https://competitions.codalab.org/competitions/17094 and follow the"
        " links there, or take the same scans as Task03 with `liverutils fetch msd`",
        shares="Volumes 28 to 47, by some accounts 48, are the patients of 3D-IRCADb-01; MSD Task03"
        " is this set.",
    ),
    "msd": Source(
        name="msd",
        title="Medical Segmentation Decathlon, Task03 Liver",
        licence="CC BY-SA 4.0",
        citation="Antonelli et al. 2022. The Medical Segmentation Decathlon. Nature Communications"
        " 13, 4128. https://doi.org/10.1038/s41467-022-30695-9",
        url="http://medicaldecathlon.com/",
        layout="Task03_Liver with imagesTr/liver_N.nii.gz and labelsTr/liver_N.nii.gz",
        find=find_msd,
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
        find=find_lits_png,
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
        find=find_chaos,
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
    "crlm": Source(
        name="crlm",
        title="Colorectal-Liver-Metastases",
        licence="CC BY 4.0",
        citation="Simpson et al. 2024. Preoperative CT and survival data for patients undergoing"
        " resection of colorectal liver metastases. Scientific Data 11, 172."
        " https://doi.org/10.1038/s41597-024-02981-2",
        url="https://doi.org/10.7937/QXK2-QG03",
        layout="CRLM-CT-NNNN folders with a CT series and a DICOM SEG, as the TCIA delivers them",
        find=find_crlm,
        by_hand="get it with the NBIA Data Retriever from https://doi.org/10.7937/QXK2-QG03",
        shares="None is known.",
    ),
    "totalsegmentator": Source(
        name="totalsegmentator",
        title="TotalSegmentator's CT data set",
        licence="CC BY 4.0",
        citation="Wasserthal et al. 2023. TotalSegmentator: Robust Segmentation of 104 Anatomic"
        " Structures in CT Images. Radiology: Artificial Intelligence 5, e230024."
        " https://doi.org/10.1148/ryai.230024",
        url="https://doi.org/10.5281/zenodo.10047292",
        layout="sNNNN folders with ct.nii.gz and segmentations/liver.nii.gz",
        find=find_totalsegmentator,
        by_hand="get it from https://doi.org/10.5281/zenodo.10047292",
        shares="None is known. Lesions are not labelled apart; many scans do not show the liver.",
    ),
    "folder": Source(
        name="folder",
        title="One's own scans",
        licence="Yours to know",
        citation="Yours to know",
        url="",
        layout="NIfTI files, or folders or zips of a DICOM series each, and NAME_mask.nii.gz;"
        " data/README.md lists all namings",
        find=find_folder,
        by_hand="these scans are your own",
    ),
}
