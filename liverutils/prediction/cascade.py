"""Two networks in a row: the first finds the liver, the second looks for tumours inside it.

What the second one is given, in training and after it, is cropped to the liver that the first one
predicts. The true labels are cut along, but decide nothing.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from liverutils.errors import BadInput
from liverutils.models import load_weights
from liverutils.prediction.network import TrainedNetwork, keep_largest_liver, segment
from liverutils.scans import LIVER, TUMOR, Case, View
from liverutils.slices import (
    MARGIN_MM,
    SliceStore,
    Split,
    build_store,
    crop_case,
    crop_files,
    liver_box,
    paste,
)
from liverutils.sources import CaseFiles


def find_liver(network: TrainedNetwork, case: Case) -> np.ndarray:
    """Return the liver that a network predicts, bool (X, Y, Z): its largest connected piece.

    Where there is none, the mask is empty and a line says so.
    """
    labels = segment(network, case).labels
    keep_largest_liver(labels)
    if not labels.any():
        print(f"No liver was found in scan {case.volume}: no tumour is looked for in it.")
    return labels >= LIVER


def segment_in_liver(
    network: TrainedNetwork, case: Case, liver: np.ndarray, margin_mm: float = MARGIN_MM
) -> np.ndarray:
    """Return the labels (X, Y, Z) uint8 of a scan whose liver is given, predicted or true.

    A tumour counts where the network sees one and the liver is: outside there is none.

    Args:
        network: Trained on scans cropped to the liver.
        case: The scan; its mask is not looked at.
        liver: (X, Y, Z) bool.
        margin_mm: As in training.
    """
    labels = liver.astype(np.uint8)
    if liver.any():
        box = liver_box(liver, case.spacing, margin_mm)
        found = segment(network, crop_case(case, box)).labels == TUMOR
        labels[paste(found, box, liver.shape) & liver] = TUMOR
    return labels


def liver_crops(
    cases: Sequence[CaseFiles],
    network: TrainedNetwork,
    data: Path | str,
    *,
    view: View,
    size: int,
    margin_mm: float = MARGIN_MM,
) -> SliceStore:
    """Open the slice store of the scans cropped to their predicted livers, or build it.

    It lies in `<data>/<view>-<size>-liver-<key>`, where the key is made of the boxes: another liver
    network makes another store. Weights trained on it say that they are for crops.

    Args:
        cases: The scans, with labels.
        network: Finds the livers.
        data: Folder of the data set's stores.
        view: The axis to cut along.
        size: Side of the square pictures in pixels.
        margin_mm: Around the predicted liver.
    """
    boxes = []
    for files in tqdm(cases, "livers", unit="scan"):
        case = files.load()
        boxes.append(liver_box(find_liver(network, case), case.spacing, margin_mm))
    key = hashlib.sha256(repr(boxes).encode()).hexdigest()[:8]
    cropped = [crop_files(*pair) for pair in zip(cases, boxes, strict=True)]
    folder = Path(data) / f"{view}-{size}-liver-{key}"
    return build_store(cropped, folder, view=view, size=size, cropped_to="liver")


def check_unseen(weights: Path | str, split: Split) -> None:
    """Refuse weights that were trained, or chosen, on patients of this split's test.

    Raises:
        BadInput: As `models.load_weights`; seen_patients.
    """
    seen = load_weights(weights)[1]["split"]
    if both := set(split.test) & {*seen["train"], *seen["valid"]}:
        raise BadInput(
            f"The network in {weights} was trained on {len(both)} of the {len(split.test)} test "
            f"patients, such as {min(both)}: train it on the same split, with the same seed.",
            fault="seen_patients",
        )


def start_from(model: nn.Module, weights: Path | str) -> None:
    """Give a network the weights of one of the same kind that takes fewer slices per input.

    The kernels of the added slices start at zero: at first the neighbours change nothing.

    Args:
        model: The network that is to be trained.
        weights: File of the one that was; here the network that finds the liver.

    Raises:
        BadInput: As `models.load_weights`; other_architecture.
    """
    given, own = load_weights(weights)[0].state_dict(), model.state_dict()
    if given.keys() != own.keys() or any(len(given[k]) != len(own[k]) for k in own if own[k].ndim):
        raise BadInput(
            f"The network in {weights} is of another kind or width: train the second network with "
            "the first one's width, or from scratch (pretrained=False).",
            fault="other_architecture",
        )
    for name, tensor in given.items():
        if tensor.shape != own[name].shape:
            added = own[name].shape[1] - tensor.shape[1]
            given[name] = torch.zeros_like(own[name])
            given[name][:, added // 2 : added // 2 + tensor.shape[1]] = tensor
    model.load_state_dict(given)


def find_tumors(network: TrainedNetwork, case: Case, liver: np.ndarray) -> np.ndarray:
    """Label a liver (X, Y, Z) bool and the tumours that a second network finds in it.

    Args:
        network: One that was trained on livers alone, as for `segment_in_liver`, or one for whole
            scans, of which only the tumours inside `liver` count.
        case: The scan.
        liver: From the first network.

    Returns:
        (X, Y, Z) uint8.
    """
    if "cropped_to" in network.data:
        return segment_in_liver(network, case, liver)
    tumors = segment(network, case).labels == TUMOR
    return np.where(liver & tumors, TUMOR, liver * LIVER).astype(np.uint8)
