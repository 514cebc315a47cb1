"""What several tests share."""

import os
import shutil
import subprocess
from pathlib import Path

# Tests compute small things, which several threads only slow down. Set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from scipy import ndimage

from liverutils.phantom import make_cohort
from liverutils.scans import Case, write_nifti
from liverutils.slices import SliceStore, build_store
from liverutils.sources import find_cases

REPOSITORY = Path(__file__).parent.parent
LEFT_OUT = ("logs/", "images_gallery/")  # of the copy of the repository: large


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real CT, from LIVER_CT_REAL_DATA or beside the repository; skips where absent."""
    folder = Path(os.environ.get("LIVER_CT_REAL_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("no real CT here: set LIVER_CT_REAL_DATA to the folder that holds it")
    return folder


@pytest.fixture
def tiny_case() -> Case:
    """A body of 32 x 32 x 16 voxels with lungs, spine and a liver with one tumour."""
    x, y, z = np.meshgrid(np.arange(32), np.arange(32), np.arange(16), indexing="ij")
    image = np.full(x.shape, -1000.0)
    image[np.hypot((x - 15.5) / 14, (y - 15.5) / 11) < 1] = -100
    image[np.hypot((x - 15.5) / 12.5, (y - 15.5) / 9.5) < 1] = 40
    image[np.hypot(x - 15.5, y - 8.5) < 2.5] = 400
    image[(z > 11) & (np.hypot((x - 15.5) / 11, (y - 18) / 6) < 1)] = -850
    distance = np.sqrt(((x - 21) / 6.5) ** 2 + ((y - 17) / 7) ** 2 + ((z - 8) / 4.5) ** 2)
    liver = distance < 1
    tumor = np.sqrt((x - 21) ** 2 + (y - 17) ** 2 + ((z - 8) * 2) ** 2) < 2.5
    image[liver], image[tumor] = 110, 60
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=image.shape), 0.5)
    image = np.maximum(image + 20 * noise, -1024)
    affine = np.diag([9.0, 9.0, 8.0, 1.0])
    affine[:3, 3] = -140, -150, 30
    mask = liver.astype(np.uint8) + tumor.astype(np.uint8)
    return Case("someone", "scan-1", np.rint(image).astype(np.int16), mask, affine)


@pytest.fixture
def write_case(tmp_path):
    """Write a case as NIfTI; return the paths of image and labels."""

    def write(case: Case, folder: Path = tmp_path, name: str = "0") -> tuple[Path, Path]:
        image, mask = folder / f"volume-{name}.nii.gz", folder / f"segmentation-{name}.nii.gz"
        write_nifti(image, case.image, case.affine)
        write_nifti(mask, case.mask, case.affine)
        return image, mask

    return write


@pytest.fixture(scope="session")
def smoke_raw(tmp_path_factory) -> Path:
    """The files of the smallest phantom cohort."""
    return make_cohort("phantom-smoke", tmp_path_factory.mktemp("phantom") / "raw", progress=False)


@pytest.fixture(scope="session")
def smoke_store(smoke_raw) -> SliceStore:
    """Its slice store, 64 pixels a side."""
    cases = find_cases("phantom-smoke", smoke_raw)
    return build_store(cases, smoke_raw.parent / "axial-64", size=64, progress=False)


@pytest.fixture
def project(tmp_path) -> Path:
    """A copy of the repository, so that nothing here touches its build folder."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    tracked = subprocess.run(
        listing, cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout
    folder = tmp_path / "project"
    for name in filter(None, tracked.split("\0")):
        if (REPOSITORY / name).is_file() and not name.startswith(LEFT_OUT):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)
    return folder


# What trains, builds whole stores or starts other programs; `make test-quick` leaves it out, and
# so it does single tests of other files that are marked there.
SLOW_FILES = {
    "test_archives.py", "test_batch.py", "test_cascade.py", "test_classification.py",
    "test_cli.py", "test_fetch.py", "test_figures.py", "test_inference.py",
    "test_jupyterlab.py", "test_layouts.py", "test_learners.py", "test_memory.py",
    "test_multiview.py", "test_phantom.py", "test_randomised.py", "test_site.py",
    "test_sources.py", "test_store.py", "test_verify.py", "test_viewer.py",
}  # fmt: skip
SLOW_TESTS = {
    "test_notebook_runs_under_nbval",
    "test_solutions_are_right",
    "test_a_variant_takes_its_parameters",
    "test_checks_tell_right_from_wrong",
    "test_commands_of_the_front_page_run_as_written",
    "test_the_logs_page_holds_the_results_of_the_logs",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is slow, so that the quick tests can be asked for."""
    for item in items:
        if item.path.name in SLOW_FILES or item.name.split("[")[0] in SLOW_TESTS:
            item.add_marker(pytest.mark.slow)
