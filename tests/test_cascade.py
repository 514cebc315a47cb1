"""The cascade: boxes, crops and back, and that the true liver never decides anything."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from doubles import TRAINED_ON

from liverutils.errors import BadInput
from liverutils.models import Settings, build_model, save_weights
from liverutils.prediction import (
    check_unseen,
    find_liver,
    liver_crops,
    segment_in_liver,
    start_from,
)
from liverutils.prediction.network import TrainedNetwork
from liverutils.scans import LIVER, TUMOR
from liverutils.slices import Split, crop_case, liver_box, paste
from liverutils.sources import find_cases


class Thresholds(torch.nn.Module):
    """Calls a pixel liver above one grey, and tumour between two others."""

    def forward(self, images):
        hu = images[:, :1] * 170 + 70
        liver, tumor = (hu > 85) * 4.0, ((hu > 50) & (hu < 75)) * 8.0
        return torch.cat([torch.ones_like(hu), liver, tumor], dim=1)


class Nothing(torch.nn.Module):
    """Calls everything background."""

    def forward(self, images):
        return torch.cat([torch.ones_like(images), *[torch.zeros_like(images)] * 2], dim=1)


def network(model):
    return TrainedNetwork(model, TRAINED_ON, torch.device("cpu"), Settings())


def test_box_is_the_liver_and_a_margin_in_mm():
    mask = np.zeros((20, 30, 10), np.uint8)
    mask[8:12, 10:20, 4:6] = LIVER
    mask[9, 20, 4] = TUMOR
    assert liver_box(mask, (2.0, 5.0, 3.0), 4.0) == (slice(6, 14), slice(9, 22), slice(2, 8))


def test_box_ends_at_the_scan_and_no_liver_gives_all_of_it():
    mask = np.zeros((6, 6, 6), bool)
    assert liver_box(mask, (1, 1, 1)) == (slice(0, 6),) * 3
    mask[0, 5, 2] = True
    assert liver_box(mask, (1, 1, 1), 2) == (slice(0, 3), slice(3, 6), slice(0, 5))


def test_a_crop_stays_where_it_was_in_the_patient(tiny_case):
    affine = tiny_case.affine.copy()
    affine[:3, :3] = [[8.9, 0.5, 0], [-0.5, 8.9, 0.1], [0, 0.2, 8]]  # a tilted scan
    case = replace(tiny_case, affine=affine)
    box = liver_box(case.mask, case.spacing, 10.0)
    crop = crop_case(case, box)
    assert crop.image.shape == crop.mask.shape != case.image.shape
    corner = [side.start for side in box]
    np.testing.assert_allclose(
        crop.affine @ [1, 2, 3, 1], case.affine @ [*(np.array(corner) + [1, 2, 3]), 1]
    )
    np.testing.assert_array_equal(paste(crop.mask, box, case.mask.shape), case.mask)
    assert case.affine is not crop.affine and (case.affine == affine).all()


def test_what_is_cropped_has_no_labels_where_the_case_has_none(tiny_case):
    crop = crop_case(replace(tiny_case, mask=None), (slice(2, 9),) * 3)
    assert crop.mask is None and crop.image.shape == (7, 7, 7)


def test_tumours_are_found_inside_the_liver_only(tiny_case):
    liver = tiny_case.mask >= LIVER
    labels = segment_in_liver(network(Thresholds()), tiny_case, liver)
    assert labels.dtype == np.uint8 and labels.shape == liver.shape
    np.testing.assert_array_equal(labels >= LIVER, liver)
    true = tiny_case.mask == TUMOR
    found = labels == TUMOR
    assert 2 * (found & true).sum() / (found.sum() + true.sum()) > 0.5
    assert not (segment_in_liver(network(Thresholds()), tiny_case, liver & ~true) == TUMOR)[
        true
    ].any()


def test_the_cascade_never_sees_the_true_liver(tiny_case):
    without = replace(tiny_case, mask=None)
    wrong = replace(tiny_case, mask=np.full_like(tiny_case.mask, TUMOR))
    livers = [find_liver(network(Thresholds()), c) for c in (tiny_case, without, wrong)]
    assert livers[0].any() and not np.array_equal(livers[0], tiny_case.mask >= LIVER)
    segmented = [
        segment_in_liver(network(Thresholds()), c, livers[0]) for c in (tiny_case, without, wrong)
    ]
    for other in (1, 2):
        np.testing.assert_array_equal(livers[other], livers[0])
        np.testing.assert_array_equal(segmented[other], segmented[0])


def test_a_liver_that_is_not_found_is_said_and_gives_no_tumour(tiny_case, capsys):
    liver = find_liver(network(Nothing()), tiny_case)
    assert "No liver was found in scan scan-1" in capsys.readouterr().out
    labels = segment_in_liver(network(Thresholds()), tiny_case, liver)
    assert labels.shape == tiny_case.mask.shape and not labels.any()


def test_crops_show_the_livers_finer_and_are_keyed_by_the_boxes(smoke_raw, tmp_path):
    cases = find_cases("phantom-smoke", smoke_raw)[:2]
    crops = liver_crops(cases, network(Thresholds()), tmp_path, view="axial", size=32)
    assert crops.patients == [case.patient for case in cases]
    whole = cases[0].load()
    scan = crops.info.volumes[cases[0].volume]
    assert max(scan.shape) < max(whole.image.shape)
    box = liver_box(find_liver(network(Thresholds()), whole), whole.spacing)
    np.testing.assert_array_equal(crops.true_mask(cases[0].volume), whole.mask[box])

    written = (crops.folder / "images.npy").stat().st_mtime_ns
    again = liver_crops(cases, network(Thresholds()), tmp_path, view="axial", size=32)
    assert (again.folder / "images.npy").stat().st_mtime_ns == written
    assert again.folder == crops.folder and again.info.cropped_to == "liver"
    wider = liver_crops(cases, network(Thresholds()), tmp_path, view="axial", size=32, margin_mm=30)
    assert wider.folder != crops.folder


def test_where_the_liver_was_missed_the_scan_stays_whole(smoke_raw, tmp_path):
    cases = find_cases("phantom-smoke", smoke_raw)[:1]
    crops = liver_crops(cases, network(Nothing()), tmp_path, view="axial", size=32)
    assert crops.info.volumes[cases[0].volume].shape == cases[0].load().image.shape


def test_a_liver_network_that_knows_test_patients_is_refused(tmp_path):
    split = {"train": ["a"], "valid": ["b"], "test": ["c", "d"]}
    path = tmp_path / "liver.safetensors"
    save_weights(build_model("UNet", width=4), path, {"split": split})
    check_unseen(path, Split(("a",), ("b",), ("c", "d")))
    with pytest.raises(BadInput, match="trained on 1 of the 2 test patients, such as b"):
        check_unseen(path, Split(("a",), ("d",), ("b", "c")))


def test_added_slices_change_nothing_at_first(tmp_path):
    path = tmp_path / "liver.safetensors"
    torch.manual_seed(0)
    liver = build_model("ResUNet", width=4).eval()
    save_weights(liver, path, {})
    wider = build_model("ResUNet", width=4, in_channels=3).eval()
    start_from(wider, path)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(wider(images), liver(images[:, 1:2]))
    with pytest.raises(BadInput, match="another kind or width"):
        start_from(build_model("ResUNet", width=8), path)
    with pytest.raises(BadInput, match="another kind or width"):
        start_from(build_model("UNet", width=4), path)
