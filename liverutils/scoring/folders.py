"""Masks from anywhere, scored against the true ones, file by file."""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from liverutils.errors import BadInput
from liverutils.parallel import in_processes
from liverutils.scans import TUMOR, check_same_grid, list_files, read_nifti_mask
from liverutils.scoring.volumes import score_patient
from liverutils.sources import by_name, is_mask, is_nifti


def evaluate_masks(
    predicted: Path | str,
    true: Path | str,
    *,
    workers: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Score every predicted mask against the true mask of the same name.

    `case_7.nii.gz`, `case_7_mask.nii` and `case_7/segmentation.nii.gz` have the same name, case_7.
    Nothing is resampled.

    Args:
        predicted: Folder or archive of NIfTI masks: 0 background, 1 liver, 2 tumour.
        true: The same.
        workers: Processes, each holding one pair; as many as there are cores by default.
        progress: Show a progress bar.

    Returns:
        One row per scan: `patient`, its name, and the scores of `scoring.score_patient`. What needs
        millimetres is NaN where the true mask has no voxel size.

    Raises:
        BadInput: no_masks, unmatched, duplicate_cases, different_grids, unknown_labels, and as
            `scans.read_nifti_mask`.
    """
    predictions, truths = _masks_by_name(Path(predicted)), _masks_by_name(Path(true))
    pairs = ((predicted, predictions, truths), (true, truths, predictions))
    for folder, these, others in pairs:
        if alone := sorted(these.keys() - others.keys()):
            raise BadInput(
                f"{len(alone)} of the {len(these)} masks in {folder} have no partner: "
                f"{', '.join(alone)}; name both masks of a scan alike, or leave it out.",
                fault="unmatched",
            )
    names = sorted(truths)
    score = partial(_score, predictions, truths)
    rows = in_processes(score, names, workers)
    return pd.DataFrame(tqdm(rows, "scoring", len(names), unit="scan", disable=not progress))


def _masks_by_name(folder: Path) -> dict[str, Path]:
    files = [file for file in list_files(folder) if is_nifti(file)]
    marked = by_name(folder, filter(is_mask, files))
    # A data set's folder holds the scans beside their masks.
    plain = by_name(folder, (file for file in files if not is_mask(file)))
    masks = {**plain, **marked}
    if not masks:
        raise BadInput(f"{folder} holds no NIfTI masks; check the path.", fault="no_masks")
    return masks


def _score(
    predicted: dict[str, Path], true: dict[str, Path], name: str
) -> dict[str, float | int | str]:
    (labels, affine), (true_labels, true_affine) = _read(predicted[name]), _read(true[name])
    check_same_grid(predicted[name], true_labels.shape, true_affine, labels.shape, affine)
    # An identity affine is what files have that know no voxel size.
    unknown = np.allclose(true_affine, np.eye(4))
    spacing = None if unknown else np.linalg.norm(true_affine[:3, :3], axis=0).tolist()
    return {"patient": name, **score_patient(labels, true_labels, spacing)}


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    labels, affine = read_nifti_mask(path)
    if labels.max() > TUMOR:
        found = ", ".join(map(str, np.unique(labels)))
        raise BadInput(
            f"The labels of {path} are {found}; use 0 background, 1 liver, 2 tumour"
            " (255 stands for no whole number).",
            fault="unknown_labels",
        )
    return labels, affine
