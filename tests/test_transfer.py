"""A network away from home: grey values, doubt, scores of scans that no store holds."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from liverutils import prediction
from liverutils.models import Settings
from liverutils.phantom import COHORTS, make_patient
from liverutils.prediction import elsewhere
from liverutils.prediction.network import TrainedNetwork
from liverutils.scans import grey_to_hu


@pytest.fixture(scope="module")
def case():
    return make_patient(COHORTS["phantom-smoke"], 1)


def as_grey(image: np.ndarray, slope: float) -> np.ndarray:
    """HU as somebody exports them: linear, 8 bits, slope and offset forgotten."""
    return np.clip(np.rint((image.astype(float) + 1024) / slope), 0, 255).astype(np.int16)


@pytest.mark.parametrize("slope", (7.0, 8.2, 9.5))
def test_grey_values_come_back_near_their_hu_whatever_the_slope(slope):
    image = make_patient(COHORTS["phantom"], 2).image
    guessed = grey_to_hu(as_grey(image, slope))
    soft = (image > 0) & (image < 150)
    assert abs(np.median(guessed[soft]) - np.median(image[soft])) < 40
    assert abs(np.median(guessed[image < -900]) + 1000) < 60


def test_a_scan_in_hu_is_left_as_it_is(case):
    network = type("Network", (), {"data": {"intensity": "HU"}})
    assert elsewhere.as_trained_on(network, case) is case
    grey = replace(case, image=as_grey(case.image, 8.2), intensity="grey")
    assert elsewhere.as_trained_on(network, grey).intensity == "HU"


class Says(nn.Module):
    """A network that calls liver what `where` says of a batch of windowed pictures."""

    def __init__(self, where):
        super().__init__()
        self.where = where

    def forward(self, images):
        liver = self.where(images[:, 0]).float()
        return 20 * torch.stack([0.5 - liver, liver - 0.5, torch.full_like(liver, -9)], 1)


def network_that(where) -> TrainedNetwork:
    facts = {"view": "axial", "size": 64, "window": (-160, 240), "intensity": "HU"}
    data = facts | {"context_slices": 0, "target": "mask"}
    return TrainedNetwork(Says(where), data, torch.device("cpu"), Settings("float32"))


def test_a_network_that_goes_by_what_it_sees_agrees_with_itself(case):
    network = network_that(lambda pictures: pictures > 0)
    assert prediction.liver_agreement(network, case, case.labels) > 0.9


def test_a_network_whose_answer_a_turn_undoes_does_not(case):
    stripes = torch.arange(64) % 2 == 0  # of the frame, not of what is seen in it
    network = network_that(lambda pictures: (pictures > 0) & stripes)
    assert prediction.liver_agreement(network, case, case.labels) < 0.6


def test_where_no_liver_was_found_there_is_nothing_to_agree_on(case):
    network = network_that(lambda pictures: pictures > 9)
    assert prediction.liver_agreement(network, case, np.zeros_like(case.labels)) == 0
    assert prediction.liver_agreement(network, case, case.labels) == 0


def test_one_good_answer_in_twenty_is_doubted(tmp_path):
    weights = tmp_path / "Run.safetensors"
    assert prediction.least_agreement(weights) is None
    agreement = np.linspace(0.8, 1, 101)
    table = pd.DataFrame({"agreement": agreement, "liver_dice": 0.9})
    bad = pd.DataFrame({"agreement": [0.1], "liver_dice": [0.2]})
    pd.concat([table, bad]).to_csv(tmp_path / "Run_elsewhere.csv", index=False)
    assert prediction.least_agreement(weights) == pytest.approx(0.81)
    bad.to_csv(tmp_path / "Run_elsewhere.csv", index=False)
    assert prediction.least_agreement(weights) is None


def test_scans_elsewhere_are_scored_one_by_one(monkeypatch, case):
    answer = type("Answer", (), {"labels": case.labels.copy()})
    monkeypatch.setattr(elsewhere, "segment", lambda network, case: answer)
    monkeypatch.setattr(elsewhere, "liver_agreement", lambda network, case, labels: 1)
    network = type("Network", (), {"data": {"intensity": "HU"}})
    files = [type("Files", (), {"load": lambda self: case})()]
    (row,) = elsewhere.score_elsewhere(network, files).to_dict("records")
    assert row["agreement"] == 1 and row["liver_dice"] == 1 and row["patient"] == case.patient
