"""Every data set's layout, from a folder, a zip and a tar, ends in the same case."""

import csv
import io
import pickle
import shutil
import tarfile
import zipfile
from collections import Counter

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from liverutils.errors import BadInput
from liverutils.phantom import COHORTS, write_ircadb
from liverutils.phantom.layouts import (
    as_grey,
    save_png,
    write_chaos,
    write_lits,
    write_lits_png,
    write_msd,
)
from liverutils.scans import (
    TUMOR,
    list_files,
    read_files,
    verify_case,
    write_dicom_mask,
    write_dicom_series,
    write_nifti,
)
from liverutils.sources import SOURCES, find_cases, fingerprint, lits_patient


def write_each(write, numbers, **options):
    """Return a function that writes one case under several numbers."""

    def write_all(folder, case):
        for number in numbers:
            write(folder, case, number, **options)

    return write_all


def write_phantom(folder, case, number):
    write_nifti(folder / f"volume-{number:03d}.nii.gz", case.image, case.affine)
    write_nifti(folder / f"segmentation-{number:03d}.nii.gz", case.mask, case.affine)


def write_three_of_lits(folder, case):
    write_each(write_lits, (0, 28, 131))(folder, case)
    write_nifti(folder / "test-volume-3.nii", case.image, case.affine)


def write_two_of_msd(folder, case):
    write_each(write_msd, (2, 47))(folder, case)
    folder = folder / "Task03_Liver"
    write_nifti(folder / "imagesTs" / "liver_132.nii.gz", case.image, case.affine)
    (folder / "imagesTr" / "._liver_2.nii.gz").write_bytes(b"left behind by an operating system")


def write_unpacked_ircadb(folder, case, numbers=(1, 17)):
    write_each(write_ircadb, numbers)(folder, case)
    for number in numbers:
        patient = folder / f"3Dircadb1.{number}"
        for archive in patient.iterdir():
            shutil.unpack_archive(archive, patient)
            archive.unlink()
        cyst = patient / "MASKS_DICOM" / "livercyst"
        write_dicom_mask(cyst, case, case.image > 200, "livercyst")


def write_two_of_chaos(folder, case):
    write_each(write_chaos, (1, 22))(folder, case)
    write_dicom_series(folder / "Train_Sets" / "MR" / "1" / "T2SPIR" / "DICOM_anon", case)


def write_own(folder, case):
    write_nifti(folder / "anna" / "ct.nii.gz", case.image, case.affine)
    write_nifti(folder / "anna" / "mask.nii.gz", case.mask, case.affine)
    write_nifti(folder / "images" / "bert.nii.gz", case.image, case.affine)
    write_nifti(folder / "labels" / "bert.nii.gz", case.mask, case.affine)
    write_dicom_series(folder / "carl" / "scan", case)
    write_nifti(folder / "carl" / "scan_mask.nii.gz", case.mask, case.affine)
    write_nifti(folder / "volume-7.nii", case.image, case.affine)
    write_nifti(folder / "dora_2.nii", case.image, case.affine)
    write_nifti(folder / "dora_2_seg.nii", case.mask, case.affine)


LAYOUTS = {
    "phantom": (
        write_each(write_phantom, (0, 1)),
        {"phantom-000": "000", "phantom-001": "001"},
    ),
    "phantom-shifted": (
        write_each(write_phantom, (0, 1)),
        {"phantom-shifted-000": "000", "phantom-shifted-001": "001"},
    ),
    "lits": (
        write_three_of_lits,
        {"lits-000": "volume-0", "ircadb-01": "volume-28", "lits-131": "volume-131"},
    ),
    "msd": (write_two_of_msd, {"lits-002": "liver_2", "ircadb-20": "liver_47"}),
    "ircadb": (write_unpacked_ircadb, {"ircadb-01": "3Dircadb1.1", "ircadb-17": "3Dircadb1.17"}),
    "chaos": (write_two_of_chaos, {"chaos-01": "CT-1", "chaos-22": "CT-22"}),
    "folder": (
        write_own,
        {"7": "7", "anna": "anna", "bert": "bert", "dora_2": "dora_2", "carl": "carl"},
    ),
}


def pack(folder, how):
    """Return the folder as it is, or packed."""
    if how == "folder":
        return folder
    return type(folder)(shutil.make_archive(folder, how, folder.parent, folder.name))


@pytest.mark.parametrize("how", ["folder", "zip", "tar", "gztar"])
@pytest.mark.parametrize("source", LAYOUTS)
def test_layout_is_read_from_folder_and_archive(tmp_path, tiny_case, source, how):
    write, patients = LAYOUTS[source]
    write(tmp_path / "raw", tiny_case)
    cases = find_cases(source, pack(tmp_path / "raw", how))
    assert {case.patient: case.volume for case in cases} == patients
    for files in pickle.loads(pickle.dumps(cases)):
        case = files.load()
        assert case.image.dtype == np.int16
        assert np.array_equal(case.image, tiny_case.image)
        assert np.allclose(case.affine, tiny_case.affine, atol=1e-4)
        assert case.provenance["source"] == source
        if files.volume == "7":
            assert case.mask is None
        else:
            expected = tiny_case.mask > 0 if source == "chaos" else tiny_case.mask
            assert case.mask.dtype == np.uint8
            assert np.array_equal(case.mask, expected)


def test_every_source_is_tested_and_told():
    known = {"ircadb", "lits", "msd", "lits-png", "chaos", "crlm", "totalsegmentator", "folder"}
    assert set(SOURCES) == {*COHORTS, *known}
    for name, source in SOURCES.items():
        assert source.name == name
        assert source.title and source.licence and source.citation and source.layout


@pytest.mark.parametrize("liver_holds_tumors", [True, False])
def test_ircadb_tumours_are_united_and_count_as_liver(tmp_path, tiny_case, liver_holds_tumors):
    tiny_case.mask[19, 13, 8] = TUMOR
    write_ircadb(tmp_path, tiny_case, 4, liver_holds_tumors)
    case = find_cases("ircadb", tmp_path)[0].load()
    assert np.array_equal(case.mask, tiny_case.mask)
    assert case.provenance["structures"] == ["bone", "liver", "livertumor01", "livertumor02"]


def test_ircadb_cysts_are_no_tumours(tmp_path, tiny_case):
    write_unpacked_ircadb(tmp_path, tiny_case, [4])
    case = find_cases("ircadb", tmp_path)[0].load()
    assert "livercyst" in case.provenance["structures"]
    assert np.array_equal(case.mask, tiny_case.mask)


def test_ircadb_as_it_is_downloaded(tmp_path, tiny_case):
    """Zips in a folder per patient, all in one zip; and one patient's folder by itself."""
    folder = tmp_path / "3Dircadb1"
    write_each(write_ircadb, (1, 17))(folder, tiny_case)
    download = pack(folder, "zip")
    patient = shutil.make_archive(tmp_path / "each" / "3Dircadb1.1", "zip", folder, "3Dircadb1.1")
    for raw, patients in (
        (folder, ["ircadb-01", "ircadb-17"]),
        (download, ["ircadb-01", "ircadb-17"]),
        (tmp_path / "each", ["ircadb-01"]),
        (type(folder)(patient), ["ircadb-01"]),
        (folder / "3Dircadb1.17", ["ircadb-17"]),
    ):
        cases = find_cases("ircadb", raw)
        assert [case.patient for case in cases] == patients
        for case in cases:
            assert np.array_equal(case.load().mask, tiny_case.mask)


def as_original_rgb(folder):
    """Three equal channels, and masks of 0 and 255."""
    for path in list_files(folder / "volumes") + list_files(folder / "segmentations"):
        picture = np.array(Image.open(path))
        is_mask = path.parent.name == "segmentations"
        save_png(path, np.dstack([picture * (255 if is_mask else 1)] * 3))


def as_one_folder(folder):
    for path in list_files(folder / "volumes") + list_files(folder / "segmentations"):
        (folder / "dataset_6").mkdir(exist_ok=True)
        path.rename(folder / "dataset_6" / path.name)


@pytest.mark.parametrize("how", ["folder", "zip", "tar"])
@pytest.mark.parametrize("change", [lambda folder: None, as_original_rgb, as_one_folder])
def test_lits_png(tmp_path, tiny_case, how, change):
    write_each(write_lits_png, (29, 100))(tmp_path / "lits-png", tiny_case)
    change(tmp_path / "lits-png")
    cases = find_cases("lits-png", pack(tmp_path / "lits-png", how))
    assert [case.patient for case in cases] == ["ircadb-02", "lits-100"]
    case = cases[1].load()
    assert np.array_equal(case.image, as_grey(tiny_case.image))
    assert np.array_equal(case.mask, tiny_case.mask)
    assert (case.intensity, case.spacing_known) == ("grey", False)


def test_another_archive_in_the_place_of_one_is_read_anew(tmp_path):
    path = tmp_path / "raw.zip"
    for content in (b"first", b"second"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("file", content)
        assert dict(read_files(list_files(path))) == {path / "file": content}


def test_lits_in_zips_in_a_folder(tmp_path, tiny_case, write_case):
    for number in (3, 30):
        image, mask = write_case(tiny_case, name=str(number))
        with zipfile.ZipFile(tmp_path / f"Batch_{number}.zip", "w") as archive:
            archive.write(image, f"media/{image.name}")
            archive.write(mask, f"media/{mask.name}")
        image.unlink(), mask.unlink()
    cases = find_cases("lits", tmp_path)
    assert [case.patient for case in cases] == ["lits-003", "ircadb-03"]
    assert np.array_equal(cases[1].load().mask, tiny_case.mask)


def test_tar_whose_names_begin_with_a_dot(tmp_path, tiny_case):
    write_three_of_lits(tmp_path / "raw", tiny_case)
    with tarfile.open(tmp_path / "raw.tar", "w") as archive:
        archive.add(tmp_path / "raw", ".")
        assert "./volume-0.nii" in archive.getnames()
    cases = find_cases("lits", tmp_path / "raw.tar")
    assert len(cases) == 3
    assert np.array_equal(cases[0].load().mask, tiny_case.mask)


@pytest.mark.parametrize("affine", [np.eye(4), np.diag([1, 1, 5, 1])])
def test_lits_labels_with_another_affine_take_that_of_the_image(tmp_path, tiny_case, affine):
    write_nifti(tmp_path / "volume-53.nii", tiny_case.image, tiny_case.affine)
    write_nifti(tmp_path / "segmentation-53.nii", tiny_case.mask, affine)
    case = find_cases("lits", tmp_path)[0].load()
    assert np.array_equal(case.mask, tiny_case.mask)
    assert list(case.provenance["repairs"]) == ["contradicting_affine"]
    write_nifti(tmp_path / "segmentation-53.nii", tiny_case.mask[1:], affine)
    assert fault_of(find_cases("lits", tmp_path)[0].load) == "different_grids"


@pytest.mark.parametrize("turned", [(), (0,), (1,), (0, 1)])
def test_a_scan_without_geometry_is_named_and_never_turned_on_a_guess(tmp_path, tiny_case, turned):
    """An identity affine does not tell where right and front are."""
    for kind, array in (("volume", tiny_case.image), ("segmentation", tiny_case.mask)):
        write_nifti(tmp_path / f"{kind}-28.nii", np.flip(array, turned), np.eye(4))
    case = find_cases("lits", tmp_path)[0].load()
    assert np.array_equal(case.image, np.flip(tiny_case.image, turned))
    assert not case.spacing_known
    faults = {finding.fault for finding in verify_case(case)}
    assert faults == {"identity_affine"} | ({"turned_patient"} if turned else set())


def test_patients_of_ircadb_are_known_in_lits():
    known = [lits_patient(number) for number in range(131)]
    assert known[28:48] == [f"ircadb-{number:02d}" for number in range(1, 21)]
    assert known[48] == "ircadb-20", "disputed, so never on another side of a split than 47"
    assert len(set(known)) == 130


def test_cohort_of_mixed_orientations_is_turned_to_one(tmp_path, tiny_case):
    for number, codes in enumerate(("RAS", "LPS", "LAS")):
        for kind, array in (("volume", tiny_case.image), ("segmentation", tiny_case.mask)):
            image = nib.Nifti1Image(array, tiny_case.affine)
            turned = image.as_reoriented(nib.orientations.axcodes2ornt(codes))
            nib.save(turned, tmp_path / f"{kind}-{number}.nii.gz")
    for files in find_cases("lits", tmp_path):
        assert np.array_equal(files.load().image, tiny_case.image)
        assert files.load().provenance["repairs"] == {}


def test_fingerprint_is_that_of_the_data(tmp_path, tiny_case):
    write_three_of_lits(tmp_path / "here", tiny_case)
    shutil.copytree(tmp_path / "here", tmp_path / "there" / "elsewhere")
    here = find_cases("lits", tmp_path / "here")
    there = find_cases("lits", tmp_path / "there" / "elsewhere")
    assert fingerprint(here) == fingerprint(reversed(there))
    assert fingerprint(here) != fingerprint(here[:2])
    write_nifti(tmp_path / "here" / "volume-0.nii", tiny_case.image + np.int16(1), tiny_case.affine)
    assert fingerprint(here) != fingerprint(there)


def test_fingerprint_of_archives_and_folders_of_slices(tmp_path, tiny_case):
    write_unpacked_ircadb(tmp_path / "raw", tiny_case)
    folder = fingerprint(find_cases("ircadb", tmp_path / "raw"))
    archive = fingerprint(find_cases("ircadb", pack(tmp_path / "raw", "zip")))
    assert len(folder) == len(archive) == 64
    (tmp_path / "raw" / "3Dircadb1.1" / "MASKS_DICOM" / "liver" / "image_3").write_bytes(b"")
    assert fingerprint(find_cases("ircadb", tmp_path / "raw")) != folder


def fault_of(action, *args):
    with pytest.raises(BadInput) as caught:
        action(*args)
    assert "\n" not in str(caught.value)
    return caught.value.fault


@pytest.mark.parametrize(
    "source", ["phantom", "lits", "msd", "ircadb", "lits-png", "chaos", "folder"]
)
def test_missing_empty_or_other_folder_is_named(tmp_path, source):
    assert fault_of(find_cases, source, tmp_path / "nowhere") == "missing"
    (tmp_path / "empty").mkdir()
    assert fault_of(find_cases, source, tmp_path / "empty") == "no_cases"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("hello")
    assert fault_of(find_cases, source, tmp_path / "other") == "no_cases"


def test_unknown_source_is_named(tmp_path):
    assert fault_of(find_cases, "mri", tmp_path) == "unknown_source"


def test_same_number_twice_is_named(tmp_path, tiny_case):
    write_three_of_lits(tmp_path / "a", tiny_case)
    write_three_of_lits(tmp_path / "b", tiny_case)
    assert fault_of(find_cases, "lits", tmp_path) == "duplicate_cases"


def add_to_zip(path, name, mode=0o100644):
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, "target")


def add_to_tar(path, name, kind=tarfile.REGTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    with tarfile.open(path, "w") as archive:
        archive.addfile(info, io.BytesIO(b""))


HOSTILE = {
    "escaping zip": (add_to_zip, "zip", "../volume-1.nii", 0o100644),
    "absolute zip": (add_to_zip, "zip", "/tmp/volume-1.nii", 0o100644),
    "backslashes": (add_to_zip, "zip", "..\\volume-1.nii", 0o100644),
    "link in a zip": (add_to_zip, "zip", "volume-1.nii", 0o120777),
    "escaping tar": (add_to_tar, "tar", "a/../../volume-1.nii", tarfile.REGTYPE),
    "symbolic link in a tar": (add_to_tar, "tar", "volume-1.nii", tarfile.SYMTYPE),
    "hard link in a tar": (add_to_tar, "tar", "volume-1.nii", tarfile.LNKTYPE),
    "device in a tar": (add_to_tar, "tar", "volume-1.nii", tarfile.CHRTYPE),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_archive_is_refused(tmp_path, what):
    write, suffix, name, kind = HOSTILE[what]
    write(tmp_path / f"raw.{suffix}", name, kind)
    assert fault_of(find_cases, "lits", tmp_path / f"raw.{suffix}") == "unsafe_archive"


@pytest.mark.parametrize("how", ["zip", "tar", "gztar"])
def test_archive_cut_short_is_named(tmp_path, tiny_case, how):
    write_three_of_lits(tmp_path / "raw", tiny_case)
    path = pack(tmp_path / "raw", how)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    def read():
        for files in find_cases("lits", path):
            files.load()

    assert fault_of(read) in ("broken_archive", "truncated_nifti")


def test_damaged_zip_member_is_named(tmp_path, tiny_case):
    write_unpacked_ircadb(tmp_path / "raw", tiny_case, [1])
    path = pack(tmp_path / "raw", "zip")
    with zipfile.ZipFile(path) as archive:
        offset = archive.getinfo("raw/3Dircadb1.1/PATIENT_DICOM/image_4").header_offset
    content = bytearray(path.read_bytes())
    content[offset + 300] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(BadInput, match="image_4") as error:
        find_cases("ircadb", path)[0].load()
    assert error.value.fault == "damaged_slices"


def test_encrypted_zip_is_named(tmp_path, tiny_case):
    write_unpacked_ircadb(tmp_path / "raw", tiny_case, [1])
    path = pack(tmp_path / "raw", "zip")
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    assert fault_of(find_cases, "ircadb", path) == "encrypted_archive"


def test_png_faults_are_named(tmp_path, tiny_case):
    write_lits_png(tmp_path, tiny_case, 29)

    def load():
        find_cases("lits-png", tmp_path)[0].load()

    slice_path = tmp_path / "volumes" / "volume-29_7.png"
    content = slice_path.read_bytes()
    slice_path.unlink()
    assert fault_of(load) == "missing_slices"
    slice_path.write_bytes(content[:-200])
    assert fault_of(load) == "unreadable_pixels"
    save_png(slice_path, np.zeros((9, 9), np.uint8))
    assert fault_of(load) == "different_grids"
    slice_path.write_bytes(content)
    (tmp_path / "segmentations" / "segmentation-29_livermask_3.png").unlink()
    assert fault_of(load) == "different_grids"


def test_chaos_with_fewer_masks_than_slices_is_named(tmp_path, tiny_case):
    write_chaos(tmp_path, tiny_case, 1)
    (tmp_path / "Train_Sets/CT/1/Ground/liver_GT_004.png").unlink()
    assert fault_of(find_cases("chaos", tmp_path)[0].load) == "different_grids"


def test_chaos_without_masks_has_none(tmp_path, tiny_case):
    write_chaos(tmp_path, tiny_case, 1)
    shutil.rmtree(tmp_path / "Train_Sets/CT/1/Ground")
    assert find_cases("chaos", tmp_path)[0].load().mask is None


def test_ircadb_mask_of_another_grid_is_named(tmp_path, tiny_case):
    write_unpacked_ircadb(tmp_path, tiny_case, [1])
    liver = tmp_path / "3Dircadb1.1" / "MASKS_DICOM" / "liver"
    (liver / "image_15").unlink()
    assert fault_of(find_cases("ircadb", tmp_path)[0].load) == "different_grids"


def test_own_scans_that_share_a_name_are_named(tmp_path, tiny_case):
    write_nifti(tmp_path / "scan-1.nii", tiny_case.image, tiny_case.affine)
    write_nifti(tmp_path / "ct_1.nii", tiny_case.image, tiny_case.affine)
    assert fault_of(find_cases, "folder", tmp_path) == "duplicate_cases"


def write_parts(folder, case, liver, tumor, **others):
    write_nifti(folder / liver, (case.mask > 0).astype(np.uint8), case.affine)
    write_nifti(folder / tumor, (case.mask == TUMOR).astype(np.uint8), case.affine)
    for name in others.values():
        write_nifti(folder / name, (case.image > 300).astype(np.uint8), case.affine)


def write_raw_nnunet(folder, case):
    write_nifti(folder / "imagesTr" / "liver_001_0000.nii.gz", case.image, case.affine)
    write_nifti(folder / "labelsTr" / "liver_001.nii.gz", case.mask, case.affine)


def write_totalsegmentator_data(folder, case):
    write_nifti(folder / "s0001" / "ct.nii.gz", case.image, case.affine)
    names = ("liver.nii.gz", "liver_lesions.nii.gz")
    write_parts(folder / "s0001" / "segmentations", case, *names, bone="spleen.nii.gz")


def write_totalsegmentator_output(folder, case):
    write_nifti(folder / "anna.nii.gz", case.image, case.affine)
    names = ("liver.nii.gz", "liver_tumor.nii.gz")
    write_parts(folder / "anna_seg", case, *names, bone="rib_left_1.nii.gz")


def write_separate_files(folder, case):
    write_nifti(folder / "anna.nii.gz", case.image, case.affine)
    write_parts(folder, case, "anna_liver.nii.gz", "anna_tumour.nii.gz")


def write_series_with_separate_files(folder, case):
    write_dicom_series(folder / "anna" / "dicom", case)
    write_parts(folder / "anna" / "masks", case, "liver.nii.gz", "tumor.nii.gz")


def write_named_differently(suffix):
    def write(folder, case):
        write_nifti(folder / "anna.nii.gz", case.image, case.affine)
        write_nifti(folder / f"anna{suffix}.nii.gz", case.mask, case.affine)

    return write


def write_train_and_images(folder, case):
    write_nifti(folder / "train" / "images" / "anna.nii.gz", case.image, case.affine)
    write_nifti(folder / "train" / "labels" / "anna.nii.gz", case.mask, case.affine)


@pytest.mark.parametrize(
    ("write", "patient"),
    [
        (write_raw_nnunet, "liver_001"),
        (write_totalsegmentator_data, "s0001"),
        (write_totalsegmentator_output, "anna"),
        (write_separate_files, "anna"),
        (write_series_with_separate_files, "anna"),
        (write_named_differently("_gt"), "anna"),
        (write_named_differently(".seg"), "anna"),
        (write_named_differently("-label"), "anna"),
        (write_train_and_images, "anna"),
    ],
)
def test_layouts_that_people_have(tmp_path, tiny_case, write, patient):
    write(tmp_path, tiny_case)
    (files,) = find_cases("folder", tmp_path)
    assert files.patient == patient
    assert np.array_equal(pickle.loads(pickle.dumps(files)).load().mask, tiny_case.mask)


@pytest.mark.parametrize(
    "names",
    [
        ("p1_arterial", "p1_portal"),
        ("p1_2021-03-04", "p1_2022-11-30"),
        ("p1_20210304", "p1_20221130"),
        ("p1/arterial", "p1/portal"),
        ("p1_visit1", "p1_visit2_venous"),
        ("train/images/p1_native", "test/images/p1"),
        ("Training Batch 1/p1_pvp", "Training Batch 2/p1_art"),
        ("fold0/p1-native", "fold1/p1.portal"),
        ("baseline/p1", "followup/p1"),
        ("2021-03-04/p1", "2022-11-30/p1"),
        ("p1/2021/ct", "p1/2022/ct"),
    ],
)
def test_two_scans_of_one_patient_are_one_patient(tmp_path, tiny_case, names):
    for name in (*names, "p2_arterial"):
        write_nifti(tmp_path / f"{name}.nii.gz", tiny_case.image, tiny_case.affine)
    cases = find_cases("folder", tmp_path)
    assert sorted(case.patient for case in cases) == ["p1", "p1", "p2"]
    assert len({case.volume for case in cases}) == 3


def test_a_scan_named_liver_is_a_scan(tmp_path, tiny_case):
    for name in ("anna_liver", "bert_liver", "liver_3"):
        write_nifti(tmp_path / f"{name}.nii.gz", tiny_case.image, tiny_case.affine)
    assert len(find_cases("folder", tmp_path)) == 3


@pytest.mark.parametrize("name", ["tumor01", "livertumor-01", "Liver_Tumour 1", "livertumors"])
def test_spellings_of_ircadb_tumours(tmp_path, tiny_case, name):
    write_unpacked_ircadb(tmp_path, tiny_case, [4])
    masks = tmp_path / "3Dircadb1.4" / "MASKS_DICOM"
    (masks / "livertumor01").rename(masks / name)
    assert np.array_equal(find_cases("ircadb", tmp_path)[0].load().mask, tiny_case.mask)


def test_own_series_in_zips(tmp_path, tiny_case):
    write_dicom_series(tmp_path / "series", tiny_case)
    for name in ("eve", "finn"):
        shutil.make_archive(tmp_path / "raw" / name, "zip", tmp_path, "series")
    cases = find_cases("folder", tmp_path / "raw")
    assert [case.patient for case in cases] == ["eve", "finn"]
    assert np.array_equal(cases[0].load().image, tiny_case.image)


def test_finding_reads_no_voxels(tmp_path, tiny_case):
    """Files of which only the names are right are found; what they hold shows on loading."""
    write_three_of_lits(tmp_path, tiny_case)
    for path in list_files(tmp_path):
        path.write_bytes(b"")
    cases = find_cases("lits", tmp_path)
    assert len(cases) == 3
    assert fault_of(cases[0].load) == "not_nifti"


def test_real_ircadb(real_data):
    """3D-IRCADb-01, patient 17: the volume and the two tumours that its publisher states."""
    case = find_cases("ircadb", real_data / "3Dircadb1.17")[0].load()
    assert case.patient == "ircadb-17"
    assert case.image.shape == (512, 512, 119)
    assert case.spacing == pytest.approx((0.743, 0.743, 1.6), abs=1e-4)
    liver_ml = np.count_nonzero(case.mask) * np.prod(case.spacing) / 1000
    assert liver_ml == pytest.approx(1861, rel=0.01)
    tumors, n_tumors = ndimage.label(case.mask == TUMOR)
    sizes = np.bincount(tumors.ravel())[1:]
    assert np.count_nonzero(sizes > 100) == 2
    assert {"portalvein", "venoussystem"} <= set(case.provenance["structures"])


def test_real_patient_lies_as_it_should(real_data):
    """Liver on the patient's right, spine behind, lungs towards the head."""
    case = find_cases("ircadb", real_data / "3Dircadb1.17")[0].load()
    x, y, z = (float(np.mean(index)) for index in np.nonzero(case.mask[::4, ::4] > 0))
    bone = np.nonzero(case.image[60 * 4 : 70 * 4 : 4, ::4] > 300)
    assert x > 64 and np.mean(bone[1]) < 64
    lung = case.image[100:400:4, 150:400:4] < -700
    assert lung[..., -1].mean() > 3 * lung[..., 0].mean()


def test_real_lits_png(real_data):
    """Slices, and slices with liver and lesion, are as many as the data set's own table says."""
    raw = real_data / "lits-png-8.zip"
    with zipfile.ZipFile(raw) as archive:
        table = archive.read("lits-png-8/classes.csv").decode()
    expected = Counter()
    for row in csv.DictReader(io.StringIO(table)):
        volume = row["filename"].rsplit("_", 1)[0]
        expected[volume, "slices"] += 1
        expected[volume, "liver"] += row["liver_visible"] == "True"
        expected[volume, "lesion"] += row["lesion_visible"] == "True"
    found = Counter()
    for files in find_cases("lits-png", raw):
        case = files.load()
        found[files.volume, "slices"] = case.image.shape[2]
        found[files.volume, "liver"] = int((case.mask > 0).any(axis=(0, 1)).sum())
        found[files.volume, "lesion"] = int((case.mask == TUMOR).any(axis=(0, 1)).sum())
        liver_x = np.nonzero((case.mask > 0).any(axis=(1, 2)))[0].mean()
        assert liver_x > 128, "the liver is on the patient's right"
    assert found == expected
    assert sum(count for (_, kind), count in found.items() if kind == "slices") == 1685
    assert len({volume for volume, _ in found}) == 8
