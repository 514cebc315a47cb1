"""New scans: from a file and weights to a mask that lies on the scan."""

import os
import pickle
import subprocess
import sys
from dataclasses import replace

import highdicom
import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from doubles import TRAINED_ON, read_nifti
from torch import nn

from liverutils.errors import BadInput
from liverutils.models import Settings, build_model, save_weights
from liverutils.phantom import COHORTS, make_patient
from liverutils.prediction import (
    keep_largest_liver,
    load_network,
    predict_scan,
    scan_to_file,
    segment,
)
from liverutils.prediction.network import (
    TrainedNetwork,
    _labels_of,
    class_probabilities,
    fold_batch_norms,
)
from liverutils.prediction.painter import Painter
from liverutils.scans import Case, turn_to_ras, write_dicom_series, write_nifti
from liverutils.scans.dicom import LPS_TO_RAS
from liverutils.slices import Resampler, apply_window, cut_case
from liverutils.sources import read_scan

PLAIN = Settings()

# A process in which files cannot grow beyond a few bytes: whoever writes more gets an error.
LIMITED = """
import resource, signal, sys
from liverutils.cli import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
sys.exit(main(sys.argv[1:]))
"""


class Threshold(nn.Module):
    """Calls windowed values above 0.15 liver and above 0.85 tumour: known answers, any size."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        middle = images[:, images.shape[1] // 2]
        return 20 * torch.stack([0 * middle, middle - 0.15, 2 * middle - 1.0], dim=1)


def thresholds(**data) -> TrainedNetwork:
    return TrainedNetwork(Threshold(), TRAINED_ON | data, torch.device("cpu"), PLAIN)


@pytest.fixture
def scan() -> Case:
    """A liver at 150 HU with a tumour at 230 HU in a body at 0 HU, off centre on every axis."""
    image = np.full((40, 36, 14), -1000, np.int16)
    image[4:36, 4:32] = 0
    image[18:34, 10:26, 4:11] = 150
    image[24:30, 14:20, 6:9] = 230
    affine = np.diag([2.0, 2.0, 5.0, 1.0])
    affine[:3, 3] = -40, -30, 100
    return Case("someone", "scan", image, None, affine)


@pytest.fixture
def weights(tmp_path):
    """Write weights of a small U-Net that was not trained, with the facts asked for."""

    def write(name: str = "weights", model: nn.Module | None = None, **data):
        path = tmp_path / f"{name}.safetensors"
        model = model or build_model("UNet", width=2, in_channels=data.pop("in_channels", 1))
        save_weights(model, path, {"data": TRAINED_ON | data})
        return path

    return write


def expected_labels(case: Case) -> np.ndarray:
    return (case.image >= 100).astype(np.uint8) + (case.image >= 220)


# --- The pieces -------------------------------------------------------------------------------


@pytest.mark.parametrize("view", ["axial", "coronal", "sagittal"])
def test_every_view_finds_the_structures_where_they_are(scan, view):
    network = thresholds(view=view, size=64)
    labels = segment(network, scan).labels
    true = expected_labels(scan)
    assert labels.shape == true.shape
    for lowest in (1, 2):
        overlap = ((labels >= lowest) & (true >= lowest)).sum()
        dice = 2 * overlap / ((labels >= lowest).sum() + (true >= lowest).sum())
        assert dice > 0.85, (view, lowest)


@pytest.mark.parametrize("context", [0, 2])
def test_slices_are_cut_as_for_the_store(scan, context):
    """The network sees what it would see of a store, and its neighbours at the ends too."""
    seen = []

    class Spy(Threshold):
        def forward(self, images):
            seen.append(images)
            return super().forward(images)

    data = TRAINED_ON | {"context_slices": context}
    segment(TrainedNetwork(Spy(), data, torch.device("cpu"), PLAIN), scan)
    stored, _, _ = cut_case(replace(scan, mask=expected_labels(scan)), "axial", 32)
    around = np.clip(np.arange(14)[:, None] + np.arange(-context, context + 1), 0, 13)
    expected = apply_window(torch.from_numpy(stored[around]), TRAINED_ON["window"])
    assert torch.equal(torch.cat(seen), expected)


def test_painting_a_box_paints_what_the_whole_picture_would():
    rng = np.random.default_rng(0)
    resampler = Resampler((37, 50), (0.9, 1.3), 24)
    logits = torch.from_numpy(rng.normal(size=(6, 3, 24, 24))).float()
    logits[:, 0] += 4 * torch.from_numpy(rng.random((6, 24, 24)) < 0.7)
    logits[3:, 0, :, :9] += 100
    logits[5, 0] += 100
    probabilities = logits.softmax(1)
    painter = Painter(resampler, "axial", (50, 37, 6))
    painter.paint(0, probabilities)
    rows, columns = (torch.from_numpy(matrix) for matrix in resampler.back())
    whole = (rows @ probabilities @ columns.T).argmax(1).numpy()
    assert np.array_equal(painter.labels[::-1, ::-1].transpose(2, 1, 0), whole)
    assert whole[3].any() and not whole[5].any()


def test_folding_batch_normalisation_changes_no_answer():
    torch.manual_seed(0)
    model = build_model("UNet", width=4)
    images = torch.randn(4, 1, 32, 32)
    model.train()(images)  # Running means and variances that are not 0 and 1.
    before = class_probabilities(model.eval(), images, PLAIN)
    fold_batch_norms(model)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in model.modules())
    assert torch.allclose(class_probabilities(model, images, PLAIN), before, atol=1e-5)


def test_the_largest_piece_is_kept_with_the_tumours_in_it():
    labels = np.zeros((20, 20, 10), np.uint8)
    labels[2:12, 2:12, 2:8] = 1
    labels[4:6, 4:6, 4:6] = 2
    expected = labels.copy()
    labels[15:18, 15:18, 3:6] = 1
    labels[15, 15, 3] = 2
    keep_largest_liver(labels)
    assert np.array_equal(labels, expected)
    nothing = np.zeros((4, 4, 4), np.uint8)
    keep_largest_liver(nothing)
    assert not nothing.any()


def test_probabilities_agree_with_the_labels(scan):
    found = segment(thresholds(), scan, keep_probabilities=True)
    assert found.probabilities.shape == (*scan.image.shape, 2)
    assert np.mean(_labels_of(found.probabilities) != found.labels) < 0.002
    inside = found.labels == 2
    assert (found.probabilities[inside, 0] > 127).all()
    assert (found.probabilities[scan.image < -500] < 30).all()


def test_several_views_are_averaged(scan):
    fused = segment(thresholds(view="axial+coronal"), scan, keep_probabilities=True)
    alone = [
        segment(thresholds(view=view), scan, keep_probabilities=True).probabilities
        for view in ("axial", "coronal")
    ]
    mean = np.mean(alone, axis=0, dtype=np.float32)
    assert np.array_equal(fused.probabilities, np.rint(mean).astype(np.uint8))
    assert set(np.unique(fused.labels)) == {0, 1, 2}
    one = segment(thresholds(view="axial+coronal"), scan, view="coronal").labels
    assert np.array_equal(one, segment(thresholds(view="coronal"), scan).labels)


def test_test_time_changes_are_undone_before_the_mean(scan):
    network = thresholds(size=64)
    plain, augmented = (
        segment(network, scan, augment=augment, keep_probabilities=True)
        for augment in (False, True)
    )
    assert not np.array_equal(plain.probabilities, augmented.probabilities)
    assert np.mean(plain.labels != augmented.labels) < 0.005
    away = np.roll(plain.labels, 1, axis=0)
    assert np.mean(plain.labels != away) > 0.01, "a voxel's shift would be seen"


# --- Files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", ["RAS", "LAS", "LPS", "PIR", "SRA"])
def test_the_mask_lies_on_the_voxels_of_its_nifti_scan(scan, axes, tmp_path, monkeypatch):
    """Whatever the order of the stored axes, also where the patient lies askew."""
    monkeypatch.setattr(scan_to_file, "load_network", lambda *_: thresholds())
    monkeypatch.setattr(scan_to_file, "verify_case", lambda case: [])
    angle = np.deg2rad(8)
    askew = np.eye(4)
    askew[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    image = nib.Nifti1Image(scan.image, askew @ scan.affine)
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(axes)
    )
    image.as_reoriented(turn).to_filename(tmp_path / "ct.nii.gz")
    stored = nib.load(tmp_path / "ct.nii.gz")
    predict_scan(tmp_path / "ct.nii.gz", "W", tmp_path / "mask.nii.gz", progress=False)
    mask = nib.load(tmp_path / "mask.nii.gz")
    assert mask.get_data_dtype() == np.uint8
    assert mask.shape == stored.shape and np.array_equal(mask.affine, stored.affine)
    labels, voxels = np.asarray(mask.dataobj), np.asarray(stored.dataobj)
    assert (voxels[labels == 2] > 100).all() and (voxels[labels > 0] > -200).all()
    assert labels[voxels == 230].mean() > 1.5


def test_a_dicom_series_gives_the_same_mask_and_a_dicom_seg(scan, tmp_path, monkeypatch):
    monkeypatch.setattr(scan_to_file, "load_network", lambda *_: thresholds())
    monkeypatch.setattr(scan_to_file, "verify_case", lambda case: [])
    write_dicom_series(tmp_path / "series", scan)
    paths = tmp_path / "mask.nii.gz", tmp_path / "mask.dcm"
    made = predict_scan(tmp_path / "series", "W", paths[0], dicom_seg=paths[1], progress=False)
    mask, affine = read_nifti(paths[0])
    assert np.array_equal(mask, made.labels)
    assert np.allclose(affine, scan.affine, atol=1e-3)
    assert np.array_equal(mask, segment(thresholds(), scan).labels)

    seg = highdicom.seg.segread(paths[1])
    volume = seg.get_volume()
    structures, seg_affine = turn_to_ras(volume.array, LPS_TO_RAS @ volume.affine)
    first = np.rint(np.linalg.solve(affine, seg_affine[:, 3]))[:3].astype(int)
    box = tuple(slice(a, a + n) for a, n in zip(first, structures.shape, strict=False))
    assert np.array_equal(structures.sum(-1), mask[box])
    assert np.count_nonzero(mask) == np.count_nonzero(mask[box])
    kinds = [s.SegmentedPropertyTypeCodeSequence[0] for s in seg.SegmentSequence]
    assert [(k.CodeValue, k.CodingSchemeDesignator) for k in kinds] == [
        ("10200004", "SCT"),
        ("108369006", "SCT"),
    ]
    source = pydicom.dcmread(tmp_path / "series" / "image_0")
    assert seg.StudyInstanceUID == source.StudyInstanceUID
    assert seg.FrameOfReferenceUID == source.FrameOfReferenceUID
    referenced = seg.ReferencedSeriesSequence[0]
    assert referenced.SeriesInstanceUID == source.SeriesInstanceUID


def test_no_liver_in_view_gives_an_empty_mask_and_says_so(scan, tmp_path, monkeypatch):
    monkeypatch.setattr(scan_to_file, "load_network", lambda *_: thresholds())
    monkeypatch.setattr(scan_to_file, "verify_case", lambda case: [])
    write_dicom_series(tmp_path / "legs", replace(scan, image=np.minimum(scan.image, 20)))
    out, seg = tmp_path / "mask.nii.gz", tmp_path / "mask.dcm"
    made = predict_scan(tmp_path / "legs", "W", out, dicom_seg=seg, progress=False)
    assert made.describe() == "No liver was found in legs, so the mask is empty."
    assert not read_nifti(out)[0].any() and not seg.exists()
    assert "cannot be empty" in made.remarks[0]


def predict_thresholds(scan, tmp_path, monkeypatch, agreement: float, **options):
    """Predict a scan that a network agrees on with itself so far, and usually by 0.9 or more."""
    monkeypatch.setattr(scan_to_file, "load_network", lambda *_: thresholds())
    monkeypatch.setattr(scan_to_file, "verify_case", lambda case: [])
    monkeypatch.setattr(scan_to_file, "least_agreement", lambda weights: 0.9)
    monkeypatch.setattr(scan_to_file, "liver_agreement", lambda *_: agreement)
    monkeypatch.setattr(scan_to_file, "doubts_of_liver", lambda *_: [])
    write_nifti(tmp_path / "ct.nii", scan.image, scan.affine)
    out = tmp_path / "mask.nii.gz"
    return predict_scan(tmp_path / "ct.nii", "W", out, progress=False, **options)


def test_a_mask_that_a_small_turn_changes_is_doubted_in_a_sentence(scan, tmp_path, monkeypatch):
    (doubt,) = predict_thresholds(scan, tmp_path, monkeypatch, 0.7).remarks
    assert "agreement 0.700" in doubt and "0.900 or more" in doubt
    sure = predict_thresholds(scan, tmp_path, monkeypatch, 0.95)
    assert not sure.remarks and sure.report()["agreement"] == 0.95
    unasked = predict_thresholds(scan, tmp_path, monkeypatch, 0.7, look_again=False)
    assert not unasked.remarks and unasked.agreement is None


def test_a_liver_in_pieces_is_doubted(scan, tmp_path, monkeypatch):
    image = scan.image.copy()
    kept = segment(thresholds(), scan).labels > 0
    spread = np.argwhere(kept)
    image[: spread[:, 0].min() - 2, ...] = image[kept].max()
    (doubt,) = predict_thresholds(replace(scan, image=image), tmp_path, monkeypatch, 1.0).remarks
    assert "lay apart" in doubt


def test_volumes_are_told_in_millilitres_where_voxels_have_a_size(scan, tmp_path, monkeypatch):
    monkeypatch.setattr(scan_to_file, "load_network", lambda *_: thresholds(size=64))
    monkeypatch.setattr(scan_to_file, "verify_case", lambda case: [])
    write_nifti(tmp_path / "ct.nii", scan.image, scan.affine)
    made = predict_scan(tmp_path / "ct.nii", "W", tmp_path / "m.nii", progress=False)
    assert made.volumes_ml()["liver"] == pytest.approx(16 * 16 * 7 * 0.02, rel=0.15)
    assert made.describe().startswith("Found: a liver of 3") and "1 tumour of" in made.describe()
    write_nifti(tmp_path / "unknown.nii", scan.image, np.eye(4))
    made = predict_scan(tmp_path / "unknown.nii", "W", tmp_path / "m.nii", progress=False)
    assert np.isnan(made.volumes_ml()["liver"])
    assert "without voxel size" in made.describe()


def test_what_no_body_can_hold_is_said(scan, tmp_path, monkeypatch):
    monkeypatch.setattr(scan_to_file, "load_network", lambda *_: thresholds(size=64))
    monkeypatch.setattr(scan_to_file, "verify_case", lambda case: [])

    def remarks(image: np.ndarray, spacing: float = 2.0) -> str:
        write_nifti(tmp_path / "ct.nii", image, np.diag([spacing, spacing, 2.5 * spacing, 1]))
        out = tmp_path / "m.nii"
        return " ".join(predict_scan(tmp_path / "ct.nii", "W", out, progress=False).remarks)

    assert "ml, less than any liver has." in remarks(scan.image)
    assert remarks(scan.image, 4.0) == ""
    assert "of the body" in remarks(np.where(scan.image >= 0, 150, scan.image).astype(np.int16))
    assert "the liver is on the left" in remarks(scan.image[::-1], 4.0)
    assert "reaches the lowest slice" in remarks(scan.image[..., 6:], 4.0)


def test_a_whole_phantom_patient_from_weights_on_disk(smoke_raw, weights, tmp_path):
    """Nothing replaced: the file is read, verified, segmented by a real network, and written."""
    scan = smoke_raw / "volume-000.nii.gz"
    made = predict_scan(scan, weights(), tmp_path / "mask.nii.gz", augment=True, progress=False)
    assert np.array_equal(read_nifti(tmp_path / "mask.nii.gz")[0], made.labels)
    assert made.labels.shape == read_scan(scan).image.shape


# --- Bad input --------------------------------------------------------------------------------


def says(fault: str, function, *arguments, **options) -> str:
    with pytest.raises(BadInput) as refused:
        function(*arguments, **options)
    assert refused.value.fault == fault
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_weights_that_cannot_be_used_are_refused_in_a_sentence(weights, tmp_path):
    assert "nowhere" in says("bad_input", load_network, tmp_path / "nowhere.safetensors")
    whole = weights().read_bytes()
    for name, content in (
        ("cut", whole[: len(whole) // 2]),
        ("pickle", pickle.dumps({"weight": [1.0]})),
        ("empty", b""),
    ):
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(content)
        assert path.name in says("bad_weights", load_network, path)
    torch.save({"a": torch.zeros(2)}, tmp_path / "torch.pt")
    assert "torch.pt" in says("bad_weights", load_network, tmp_path / "torch.pt")


def test_weights_of_another_network_or_channel_count_are_refused(weights):
    liar = build_model("UNet", width=2)
    liar.recipe = {"name": "UNet", "width": 4}
    assert "do not fit" in says("other_architecture", load_network, weights(model=liar))
    path = weights(context_slices=1)
    assert "1 channels" in says("wrong_channels", load_network, path)
    assert load_network(weights(context_slices=1, in_channels=3)).data["context_slices"] == 1


def test_weights_that_do_not_segment_or_do_not_say_for_what_are_refused(weights, tmp_path):
    says("no_segmentation", load_network, weights(target="label"))
    path = tmp_path / "bare.safetensors"
    save_weights(build_model("UNet", width=2), path, {})
    assert "view" in says("no_facts", load_network, path)


def test_scans_unlike_those_trained_on_are_refused(scan, weights):
    assert "grey" in says("other_intensity", segment, thresholds(intensity="grey"), scan)
    assert "axial" in says("other_view", segment, thresholds(), scan, view="coronal")


def test_values_that_are_no_hu_are_refused(weights, smoke_raw, tmp_path):
    image, affine = read_nifti(smoke_raw / "volume-000.nii.gz")
    write_nifti(tmp_path / "shifted.nii.gz", image + np.int16(1024), affine)
    arguments = tmp_path / "shifted.nii.gz", weights(), tmp_path / "mask.nii.gz"
    says("not_rescaled", predict_scan, *arguments, progress=False)
    assert not arguments[2].exists()


def test_outputs_that_cannot_be_written_are_refused_before_the_work(weights, smoke_raw, tmp_path):
    scan = smoke_raw / "volume-000.nii.gz"
    (tmp_path / "file").write_text("")
    says("not_writable", predict_scan, scan, weights(), tmp_path / "file" / "mask.nii.gz")
    says("overwrites_scan", predict_scan, scan, weights(), scan)
    says("overwrites_scan", predict_scan, scan, weights(), tmp_path)
    out, seg = tmp_path / "mask.nii.gz", tmp_path / "seg.dcm"
    assert "DICOM" in says("not_dicom", predict_scan, scan, weights(), out, dicom_seg=seg)
    assert not out.exists()


def test_outputs_replace_no_file_of_the_series_and_no_weights(weights, scan, tmp_path):
    series, given = tmp_path / "series", weights()
    write_dicom_series(series, scan)
    before = {path: path.read_bytes() for path in (*series.iterdir(), given)}
    for taken, fault in ((series / "image_3", "overwrites_scan"), (given, "overwrites_output")):
        out = tmp_path / "mask.nii.gz"
        says(fault, predict_scan, series, given, out, dicom_seg=taken, progress=False)
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("other", ["probabilities", "dicom_seg"])
def test_two_outputs_of_one_name_are_refused(weights, smoke_raw, tmp_path, other):
    scan, out = smoke_raw / "volume-000.nii.gz", tmp_path / "mask.nii.gz"
    same = tmp_path / "sub" / ".." / "mask.nii.gz"
    sentence = says("overwrites_output", predict_scan, scan, weights(), out, **{other: same})
    assert "two outputs" in sentence and not out.exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows limits no file's size")
def test_a_full_disk_is_said_and_leaves_nothing(weights, smoke_raw, tmp_path):
    """The largest file a process may write is its disk here, of 200 bytes."""
    command = [sys.executable, "-c", LIMITED, "predict", smoke_raw / "volume-000.nii.gz"]
    command += ["--weights", weights(), "--out", tmp_path / "out" / "mask.nii"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    (sentence,) = [line for line in done.stderr.splitlines() if line.startswith("liverutils: ")]
    assert "No room left" in sentence and "Traceback" not in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_a_network_of_the_other_stage_is_refused(weights, smoke_raw, tmp_path):
    scan, out = smoke_raw / "volume-000.nii.gz", tmp_path / "mask.nii.gz"
    inner = weights("inner", cropped_to="liver")
    assert "--tumor-weights" in says("wrong_stage", predict_scan, scan, inner, out)


@pytest.mark.parametrize("trained_on", [{"cropped_to": "liver"}, {}], ids=["livers", "scans"])
def test_a_cascade_writes_tumours_inside_the_liver_only(scan, trained_on, tmp_path, monkeypatch):
    first, second = thresholds(size=64), thresholds(size=32, **trained_on)
    chosen = {"first": first, "second": second}
    monkeypatch.setattr(scan_to_file, "load_network", lambda path, _: chosen[path])
    monkeypatch.setattr(scan_to_file, "verify_case", lambda case: [])
    write_nifti(tmp_path / "ct.nii", scan.image, scan.affine)
    made = predict_scan(
        tmp_path / "ct.nii", "first", tmp_path / "m.nii", tumor_weights="second", progress=False
    )
    liver = segment(first, scan).labels > 0
    assert np.array_equal(made.labels > 0, liver)
    assert (made.labels[scan.image == 230] == 2).mean() > 0.8


def test_the_smallest_cohorts_case_is_read_alike_from_nifti_and_dicom(tmp_path):
    case = make_patient(COHORTS["phantom-smoke"], 1)
    write_nifti(tmp_path / "ct.nii.gz", case.image, case.affine)
    write_dicom_series(tmp_path / "series", case)
    nifti, dicom = read_scan(tmp_path / "ct.nii.gz"), read_scan(tmp_path / "series")
    assert np.array_equal(nifti.image, dicom.image)
    assert np.allclose(nifti.affine, dicom.affine, atol=1e-3)
