"""A network away from home: scans of another scanner, or of patients instead of phantoms."""

from collections.abc import Iterable
from dataclasses import replace

import pandas as pd
from tqdm.auto import tqdm

from liverutils.prediction.cascade import find_tumors
from liverutils.prediction.doubt import liver_agreement
from liverutils.prediction.network import TrainedNetwork, keep_largest_liver, segment
from liverutils.scans import LIVER, Case, grey_to_hu
from liverutils.scoring import score_patient
from liverutils.sources import CaseFiles


def score_elsewhere(
    network: TrainedNetwork, files: Iterable[CaseFiles], second: TrainedNetwork | None = None
) -> pd.DataFrame:
    """Segment and score labelled scans that the network has nothing to do with.

    The liver is its largest piece. Grey values are turned into HU by `scans.grey_to_hu`.

    Args:
        network: From `load_network`.
        files: The scans; one is read at a time.
        second: Finds the tumours inside that liver, as for `find_tumors`; by default `network`.

    Returns:
        One row per scan: `patient`, `volume`, what `scoring.score_patient` says, and `agreement`
        as `liver_agreement` has it.

    Raises:
        BadInput: A scan without labels, or what reading it raises.
    """
    rows = []
    for each in tqdm(list(files), "scans", unit="scan"):
        case = as_trained_on(network, each.load())
        labels = segment(network, case).labels
        keep_largest_liver(labels)
        agreement = liver_agreement(network, case, labels)
        if second:
            labels = find_tumors(second, case, labels >= LIVER)
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
