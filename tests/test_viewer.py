"""The slice viewer without a browser: its controls, and the picture that stays."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from liverutils.figures import view_case
from liverutils.figures.slices import point_of_interest
from liverutils.figures.style import WINDOWS
from liverutils.figures.viewer import SliceViewer
from liverutils.phantom import COHORTS, make_patient
from liverutils.scans import Case


@pytest.fixture(scope="module")
def case() -> Case:
    return make_patient(COHORTS["phantom-smoke"], 1)


@pytest.fixture
def viewer(case) -> SliceViewer:
    return view_case(case, np.roll(case.mask, 3, axis=0))


def test_it_opens_where_there_is_something_to_see(case, viewer):
    assert viewer.view.value == "axial"
    assert viewer.index.value == point_of_interest(case)[2]
    assert viewer.index.max == case.image.shape[2] - 1
    assert (viewer.preset.value, viewer.window.value) == ("abdomen", WINDOWS["abdomen"])


def test_every_control_changes_the_picture(viewer):
    seen = {viewer.picture.value}
    viewer.index.value += 1
    seen.add(viewer.picture.value)
    viewer.masks["truth"].value = False
    seen.add(viewer.picture.value)
    viewer.masks["predicted"].value = False
    seen.add(viewer.picture.value)
    viewer.preset.value = "lung"
    seen.add(viewer.picture.value)
    viewer.window.value = (0, 100)
    seen.add(viewer.picture.value)
    viewer.view.value = "sagittal"
    seen.add(viewer.picture.value)
    assert len(seen) == 7


def test_window_and_its_name_follow_each_other(viewer):
    viewer.preset.value = "bone"
    assert viewer.window.value == WINDOWS["bone"]
    viewer.window.value = (1, 99)
    assert viewer.preset.value == "own"
    viewer.window.value = WINDOWS["lung"]
    assert viewer.preset.value == "lung"


def test_each_view_remembers_its_slice(case, viewer):
    axial = viewer.index.value
    viewer.view.value = "coronal"
    assert viewer.index.max == case.image.shape[1] - 1
    viewer.index.value = 50
    viewer.view.value = "axial"
    assert viewer.index.value == axial
    viewer.view.value = "coronal"
    assert viewer.index.value == 50


def test_the_wheel_goes_through_the_slices_of_the_view(case, viewer):
    viewer.wheel.index += 1
    assert viewer.index.value == point_of_interest(case)[2] + 1
    viewer.view.value = "coronal"
    assert (viewer.wheel.index, viewer.wheel.last) == (viewer.index.value, viewer.index.max)
    assert viewer.wheel.last == case.image.shape[1] - 1


def test_the_words_for_the_picture_follow_it(viewer):
    viewer.masks["truth"].value = viewer.masks["predicted"].value = False
    viewer.view.value = "sagittal"
    assert "sagittal" in viewer.wheel.alt and viewer.wheel.alt.endswith("nothing")


def test_a_static_picture_stands_beside_the_widget(viewer):
    bundle, about = viewer._repr_mimebundle_()
    assert about["image/png"]["alt"].endswith("drawn over it: truth and prediction")
    view = bundle["application/vnd.jupyter.widget-view+json"]
    assert view["model_id"] == viewer.panel.model_id
    picture = Image.open(io.BytesIO(base64.b64decode(bundle["image/png"])))
    assert np.asarray(picture.convert("L")).std() > 20


def test_grey_pictures_without_labels_have_a_window_and_no_masks(case):
    grey = Case("a", "a", np.clip(case.image, 0, 255), None, np.eye(4), False, "grey")
    viewer = view_case(grey)
    assert viewer.window.value == (0, 255)
    assert viewer.masks == {}
    assert viewer.preset not in viewer.panel.children[2].children
