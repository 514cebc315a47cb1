"""A cohort becomes slices on disk: what is kept, what is refused, and what a crash leaves."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from liverutils.errors import BadInput
from liverutils.files import write_json
from liverutils.scans import Case
from liverutils.slices import Resampler, SliceStore, StoreInfo, build_store, cut_case
from liverutils.sources import find_cases, personal_names


def block_case(shape=(40, 30, 12), spacing=(1.0, 1.0, 2.5), patient="block") -> Case:
    """Air with a box of liver at 100 HU that holds a box of tumour at 50 HU."""
    image = np.full(shape, -1000, np.int16)
    mask = np.zeros(shape, np.uint8)
    image[8:32, 6:24, 2:10], mask[8:32, 6:24, 2:10] = 100, 1
    image[12:20, 10:18, 4:8], mask[12:20, 10:18, 4:8] = 50, 2
    return Case(patient, patient, image, mask, np.diag([*spacing, 1.0]))


def test_store_holds_what_it_promises(smoke_store):
    n = len(smoke_store)
    assert smoke_store.images.shape == smoke_store.masks.shape == (n, 64, 64)
    assert smoke_store.images.dtype == np.int16
    assert smoke_store.masks.dtype == np.uint8
    assert list(smoke_store.slices.columns) == [
        *("patient", "volume", "view", "index", "position_mm", "spacing"),
        *("liver_px", "tumor_px", "label"),
    ]
    assert np.array_equal(smoke_store.slices.liver_px, (smoke_store.masks > 0).sum((1, 2)))
    assert np.array_equal(smoke_store.slices.tumor_px, (smoke_store.masks == 2).sum((1, 2)))
    info = smoke_store.info
    for said in (info.source, info.licence, info.size, info.intensity, info.fingerprint):
        assert said not in (None, "")
    assert info.views == ["axial"] and info.version


def test_labels_come_from_the_scan_itself(smoke_store):
    for volume, rows in smoke_store.slices.groupby("volume"):
        mask = smoke_store.true_mask(volume)
        assert np.array_equal(rows.label, mask.max(axis=(0, 1))[rows["index"]])


def test_second_build_does_nothing(smoke_raw, smoke_store):
    before = (smoke_store.folder / "images.npy").stat().st_mtime_ns
    build_store(find_cases("phantom-smoke", smoke_raw), smoke_store.folder, size=64)
    assert (smoke_store.folder / "images.npy").stat().st_mtime_ns == before


def test_workers_do_not_change_the_store(smoke_raw, smoke_store, tmp_path):
    alone = build_store(find_cases("phantom-smoke", smoke_raw), tmp_path / "s", size=64, workers=1)
    assert np.array_equal(alone.images, smoke_store.images)
    assert np.array_equal(alone.masks, smoke_store.masks)
    assert alone.slices.equals(smoke_store.slices)


@pytest.mark.parametrize("view", ["axial", "coronal", "sagittal"])
def test_pixels_are_square_in_mm_in_every_view(view):
    case = block_case(shape=(40, 40, 16), spacing=(1.0, 1.0, 2.5))
    _, masks, table = cut_case(case, view, size=40)
    middle = masks[len(masks) // 2] > 0
    rows, columns = np.ptp(np.argwhere(middle), axis=0) + 1
    true_mm = {"axial": (18, 24), "coronal": (20, 24), "sagittal": (20, 18)}[view]
    assert (rows, columns) == pytest.approx(true_mm, abs=1)
    assert table.spacing[0] == 1.0


def test_picture_shows_right_on_the_left_and_front_on_top():
    case = block_case(shape=(40, 40, 4))
    case.image[...], case.mask[...] = 0, 0
    case.image[30:, 30:, :] = 200  # towards the patient's right and front
    images, _, _ = cut_case(case, "axial", size=40)
    assert images[0, 5, 5] == 200
    assert images[0, 35, 35] == 0


def test_same_size_changes_no_voxel():
    case = block_case(shape=(32, 32, 4))
    images, masks, _ = cut_case(case, "axial", size=32)
    assert np.array_equal(images[1], case.image[::-1, ::-1, 1].T)
    assert np.array_equal(masks[1], case.mask[::-1, ::-1, 1].T)


def test_area_average_keeps_the_mean():
    case = block_case(shape=(64, 64, 1))
    case.image[...] = np.random.default_rng(0).integers(-200, 300, case.image.shape)
    images, _, _ = cut_case(case, "axial", size=16)
    assert images.mean() == pytest.approx(case.image.mean(), abs=0.5)


def test_what_lies_beyond_the_scan_is_air():
    images, masks, _ = cut_case(block_case(shape=(40, 20, 4)), "axial", size=40)
    assert (images[:, :10] == -1024).all()
    assert (masks[:, :10] == 0).all()


def test_lesion_smaller_than_a_store_pixel_still_labels_its_slice():
    case = block_case(shape=(64, 64, 2))
    case.mask[case.mask == 2] = 1
    case.mask[15, 15, 0] = 2
    case.mask[12:20, 12:20, 0] = np.maximum(case.mask[12:20, 12:20, 0], 1)
    _, masks, table = cut_case(case, "axial", size=8)
    assert table.label[0] == 2
    assert table.tumor_px[0] == (masks[0] == 2).sum() == 0


@pytest.mark.parametrize("block", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", [np.int16, bool])
def test_whole_blocks_are_averaged_as_shares_are(block, kind):
    side = 8 * block
    resampler = Resampler((side, side), (0.7, 0.7), 8)
    rows, columns = (shares.toarray() for shares in resampler.shares)
    picture = np.random.default_rng(0).integers(-1000, 1000, (side, side)).astype(kind)
    for turned in (picture, picture[::-1], picture[:, ::-1], picture.T):
        expected = rows @ turned.astype(float) @ columns.T
        np.testing.assert_allclose(resampler.average(turned), expected, rtol=1e-5, atol=1e-3)


def test_back_and_forth_keeps_a_mask():
    resampler = Resampler((50, 40), (0.8, 0.8), 64)
    picture = np.zeros((50, 40), np.float32)
    picture[15:35, 10:30] = 1
    rows, columns = resampler.shares
    small = (columns @ (rows @ picture).T).T
    back = resampler.back()
    again = back[0] @ small @ back[1].T
    overlap = np.logical_and(again > 0.5, picture > 0.5).sum()
    assert 2 * overlap / ((again > 0.5).sum() + picture.sum()) > 0.97


def test_back_weights_sum_to_one():
    for weights in Resampler((50, 31), (0.8, 1.9), 64).back():
        assert np.allclose(weights.sum(1), 1)


def test_unknown_spacing_stays_unknown():
    case = block_case()
    case = replace(case, spacing_known=False, affine=np.eye(4))
    _, _, table = cut_case(case, "axial", size=16)
    assert table.spacing.isna().all()
    assert table.position_mm.isna().all()


def test_bad_case_stops_the_build_and_leaves_nothing(smoke_raw, tmp_path):
    raw = _copy_with_a_truncated_scan(smoke_raw, tmp_path / "raw")
    with pytest.raises(BadInput, match="volume-001"):
        build_store(find_cases("phantom-smoke", raw), tmp_path / "store", size=64, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_keep_going_builds_the_rest_and_says_what_it_left_out(smoke_raw, tmp_path):
    raw = _copy_with_a_truncated_scan(smoke_raw, tmp_path / "raw")
    cases = find_cases("phantom-smoke", raw)
    store = build_store(cases, tmp_path / "store", size=64, progress=False, keep_going=True)
    assert len(store.patients) == len(cases) - 1
    (skipped,) = store.info.skipped
    assert skipped.fault == "truncated_gzip"


def _raise_type_error(files):
    raise TypeError("no such dtype")


def test_a_scan_that_breaks_its_reader_is_left_out_or_named(smoke_raw, tmp_path):
    cases = find_cases("phantom-smoke", smoke_raw)[:2]
    cases[0] = replace(cases[0], read=_raise_type_error)
    arguments = {"size": 16, "workers": 1, "progress": False}
    with pytest.raises(BadInput, match="TypeError") as caught:
        build_store(cases, tmp_path / "store", **arguments)
    assert caught.value.fault == "unreadable_scan"
    store = build_store(cases, tmp_path / "store", keep_going=True, **arguments)
    assert [scan.fault for scan in store.info.skipped] == ["unreadable_scan"]


def _copy_with_a_truncated_scan(smoke_raw: Path, raw: Path) -> Path:
    raw.mkdir()
    for path in smoke_raw.iterdir():
        (raw / path.name).write_bytes(path.read_bytes())
    scan = raw / "volume-001.nii.gz"
    scan.write_bytes(scan.read_bytes()[:-2000])
    return raw


def test_no_case_is_said():
    with pytest.raises(BadInput, match="no case"):
        build_store([], "nowhere")


def test_folder_without_a_store_is_said(tmp_path):
    with pytest.raises(BadInput, match="not a slice store"):
        SliceStore.open(tmp_path)


def test_scans_without_labels_are_refused(tmp_path):
    case = replace(block_case(), mask=None)
    nib.save(nib.Nifti1Image(case.image, case.affine), tmp_path / "scan.nii.gz")
    with pytest.raises(BadInput, match="no labels"):
        build_store(find_cases("folder", tmp_path), tmp_path / "store", workers=1)


def test_a_patient_without_liver_is_said_and_can_be_left_out(tiny_case, write_case, tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    write_case(tiny_case, raw, "0")
    write_case(replace(tiny_case, mask=np.zeros_like(tiny_case.mask)), raw, "1")
    cases = find_cases("lits", raw)
    with pytest.raises(BadInput, match="no voxel labelled liver"):
        build_store(cases, tmp_path / "store", size=16, progress=False)
    store = build_store(cases, tmp_path / "store", size=16, progress=False, keep_going=True)
    assert len(store.patients) == 1
    assert store.info.skipped[0].fault == "empty_mask"


def test_full_disk_is_said_and_leaves_nothing(smoke_raw, tmp_path):
    cases = find_cases("phantom-smoke", smoke_raw)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limit[1]))
    try:
        with pytest.raises(BadInput, match="No room left"):
            build_store(cases, tmp_path / "store", size=64, workers=1, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


def test_killed_build_leaves_no_store_and_its_remains_are_cleared(smoke_raw, tmp_path):
    out = tmp_path / "store"
    command = [sys.executable, "-m", "liverutils", "prepare", "phantom-smoke", str(smoke_raw)]
    process = subprocess.Popen(
        [*command, "--out", str(out), "--size", "64"], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".store.*.partial")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not out.exists()
    store = build_store(find_cases("phantom-smoke", smoke_raw), out, size=64, progress=False)
    assert len(store) > 0
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_store_json_is_complete(smoke_store):
    info = json.loads((smoke_store.folder / "store.json").read_text())
    assert set(info["volumes"]) == set(smoke_store.slices.volume)
    assert info["slices"] == len(smoke_store)


def test_what_is_read_of_a_store_is_written_again_to_the_byte(smoke_store, tmp_path):
    written = smoke_store.folder / "store.json"
    assert StoreInfo.read(written) == smoke_store.info
    write_json(tmp_path / "store.json", smoke_store.info.as_json)
    assert (tmp_path / "store.json").read_bytes() == written.read_bytes()


def test_a_store_of_an_older_version_is_read(tmp_path):
    scan = {"shape": [8, 9, 10], "spacing": None}
    old = {"source": "lits", "fingerprint": "f", "view": "axial+coronal", "size": 8}
    old |= {"intensity": "HU", "slices": 3, "volumes": {"a": scan}, "unknown": [1]}
    write_json(tmp_path / "store.json", old)
    info = StoreInfo.read(tmp_path / "store.json")
    assert info.views == ["axial", "coronal"] and info.volumes["a"].shape == (8, 9, 10)
    assert (info.version, info.cropped_to, info.every, info.skipped) == (None, None, None, ())


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": None},
        {"size": True},
        {"slices": 0},
        {"view": "axail"},
        {"licence": 3},
        {"skipped": ["volume-001"]},
        {"volumes": {"a": {"shape": [8, 9]}}},
    ],
)
def test_a_store_json_of_other_kinds_is_damaged(wrong, smoke_store, tmp_path):
    write_json(tmp_path / "store.json", smoke_store.info.as_json | wrong)
    with pytest.raises(BadInput, match=r"store\.json is damaged") as caught:
        StoreInfo.read(tmp_path / "store.json")
    assert caught.value.fault == "broken_store"


def small_store(tmp_path, tiny_case, write_case) -> tuple[list, Path]:
    raw = tmp_path / "raw"
    raw.mkdir()
    write_case(tiny_case, raw, "0")
    cases = find_cases("lits", raw)
    build_store(cases, tmp_path / "store", size=16, workers=1, progress=False, raw=raw)
    return cases, tmp_path / "store"


def test_a_damaged_store_ends_in_a_sentence(tiny_case, write_case, tmp_path):
    _, folder = small_store(tmp_path, tiny_case, write_case)
    draw, refused = np.random.default_rng(0), 0
    for round in range(400):
        name = ("store.json", "slices.csv", "images.npy", "masks.npy")[round % 4]
        whole = (folder / name).read_bytes()
        damaged = bytearray(whole)
        for place in draw.integers(0, min(len(damaged), 2000), draw.integers(1, 8)):
            damaged[place] = draw.integers(0, 256)
        if round % 8 >= 4:
            damaged = damaged[: draw.integers(0, len(damaged))]
        (folder / name).write_bytes(damaged)
        try:
            store = SliceStore.open(folder)
            split_of = store.slices.groupby("patient")[["liver_px", "tumor_px"]].sum()
            assert len(split_of) == len(store.patients)
        except BadInput as error:
            assert error.fault == "broken_store" and "\n" not in str(error)
            refused += 1
        (folder / name).write_bytes(whole)
    assert refused > 250
    for name in ("slices.csv", "images.npy", "masks.npy"):
        whole = (folder / name).read_bytes()
        (folder / name).unlink()
        with pytest.raises(BadInput, match=name):
            SliceStore.open(folder)
        (folder / name).write_bytes(whole)
    SliceStore.open(folder)


def test_a_finished_store_opens_without_a_lock_on_a_disk_that_cannot_be_written(
    tiny_case, write_case, tmp_path, monkeypatch
):
    cases, folder = small_store(tmp_path, tiny_case, write_case)

    def refuse(*_, **__):
        raise PermissionError(30, "Read-only file system")

    for name in ("mkdir", "write_text", "write_bytes", "unlink", "replace", "touch"):
        monkeypatch.setattr(Path, name, refuse)
    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    store = build_store(cases, folder, size=16, progress=False)
    assert len(store) == 16


def test_what_is_not_a_store_is_never_replaced(tiny_case, write_case, tmp_path):
    cases, folder = small_store(tmp_path, tiny_case, write_case)
    raw = cases[0].image.parent
    before = {path: path.read_bytes() for path in raw.iterdir()}
    for out in (raw, raw / "store", tmp_path):
        with pytest.raises(BadInput, match="name another folder") as caught:
            build_store(cases, out, size=16, progress=False, raw=raw)
        assert caught.value.fault == "folder_in_use"
    assert {path: path.read_bytes() for path in raw.iterdir()} == before
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(BadInput, match=r"notes\.txt, which is not part of it"):
        build_store(cases, folder, size=8, progress=False)
    (folder / "notes.txt").unlink()
    (folder / ".snakemake_timestamp").touch()  # in every folder that a rule of Snakemake made
    assert build_store(cases, folder, size=8, workers=1, progress=False).info.size == 8


def test_what_a_store_is_cropped_to_stays_on_disk(tiny_case, write_case, tmp_path):
    cases, folder = small_store(tmp_path, tiny_case, write_case)
    cropped = build_store(
        cases, tmp_path / "liver", size=16, workers=1, progress=False, cropped_to="liver"
    )
    assert cropped.info.cropped_to == "liver"
    assert SliceStore.open(tmp_path / "liver").info.cropped_to == "liver"
    assert SliceStore.open(folder).info.cropped_to is None


@pytest.mark.parametrize(
    "name", ["Doe_Jane_1970", "Doe Jane", "Doe^Jane", "p_1970-03-12", "Müller, Jörg"]
)
def test_a_name_that_looks_like_a_person_s_is_noticed(name):
    assert personal_names([name, "patient-017"]) == [name]


@pytest.mark.parametrize(
    "name", ["ircadb-01", "lits-048", "CT-12", "case_0001", "volume-7", "phantom-001"]
)
def test_a_pseudonym_is_left_in_peace(name):
    assert personal_names([name]) == []


def test_a_person_s_name_is_warned_of_when_a_store_is_built(tiny_case, write_case, tmp_path):
    (tmp_path / "raw" / "Doe_Jane_1970").mkdir(parents=True)
    write_case(tiny_case, tmp_path / "raw" / "Doe_Jane_1970")
    cases = find_cases("folder", tmp_path / "raw")
    with pytest.warns(UserWarning, match="Doe_Jane_1970 looks like a person's name"):
        build_store(cases, tmp_path / "store", size=16, workers=1, progress=False)
