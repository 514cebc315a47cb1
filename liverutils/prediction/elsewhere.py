"""A network away from home: scans of another scanner, or of patients instead of phantoms."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from liverutils.prediction.network import TrainedNetwork, keep_largest_liver, segment
from liverutils.scans import LIVER, Case, grey_to_hu
from liverutils.scoring import score_patient, score_volume
from liverutils.sources import CaseFiles


def score_elsewhere(network: TrainedNetwork, files: Iterable[CaseFiles]) -> pd.DataFrame:
    """Segment and score labelled scans that the network has nothing to do with.

    The liver is its largest piece. Grey values are turned into HU by `scans.grey_to_hu`.

    Args:
        network: From `load_network`.
        files: The scans; one is read at a time.

    Returns:
        One row per scan: `patient`, `volume`, what `scoring.score_patient` says, and `agreement`
        as `liver_agreement` gives it.

    Raises:
        BadInput: A scan without labels, or what reading it raises.
    """
    rows = []
    for each in tqdm(list(files), "scans", unit="scan"):
        case = as_trained_on(network, each.load())
        labels, agreement = segment_with_agreement(network, case)
        spacing = case.spacing if case.spacing_known else None
        scores = score_patient(labels, case.labels, spacing)
        names = {"patient": case.patient, "volume": case.volume, "agreement": agreement}
        rows.append(names | scores)
    return pd.DataFrame(rows)


def as_trained_on(network: TrainedNetwork, case: Case) -> Case:
    """Return the scan in the values that the network knows, where they can be told."""
    if case.intensity == "grey" and network.data["intensity"] == "HU":
        return replace(case, image=grey_to_hu(case.image), intensity="HU")
    return case


def segment_with_agreement(network: TrainedNetwork, case: Case) -> tuple[np.ndarray, float]:
    """Segment a scan twice, plainly and averaged over test-time changes.

    Returns:
        The averaged labels (X, Y, Z) uint8, the liver its largest piece, and the Dice between the
        two livers: 1 where turning and zooming change nothing. Zenk et al. 2025,
        https://doi.org/10.1016/j.media.2024.103392, found such agreement to be the best simple
        sign of a segmentation that failed. Two empty answers agree on nothing: 0.
    """
    plain, changed = segment(network, case).labels, segment(network, case, augment=True).labels
    keep_largest_liver(plain)
    keep_largest_liver(changed)
    if not plain.any() and not changed.any():
        return changed, 0.0
    livers = (plain >= LIVER).astype(np.uint8), (changed >= LIVER).astype(np.uint8)
    return changed, float(score_volume(*livers, None)["dice"])
