"""Figures: what is drawn, where, in which colours, and the files of the gallery."""

import io

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgba
from PIL import Image

from liverutils import figures
from liverutils.phantom import COHORTS, make_patient
from liverutils.scans import TUMOR, Case
from liverutils.scoring import SLICE_CLASSES, bootstrap_roc, mean_interval

LIVER_COLOUR, TUMOR_COLOUR = figures.LIVER_COLOUR, figures.TUMOR_COLOUR


@pytest.fixture(autouse=True)
def style():
    with plt.rc_context():
        figures.use_style()
        yield
    plt.close("all")


@pytest.fixture(scope="module")
def case() -> Case:
    return make_patient(COHORTS["phantom-smoke"], 1)


@pytest.fixture
def labels() -> np.ndarray:
    labels = np.zeros((40, 60), np.uint8)
    labels[10:30, 10:40] = 1
    labels[15:20, 20:30] = TUMOR
    return labels


def drawn(figure) -> np.ndarray:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return np.asarray(Image.open(buffer).convert("RGB"), int)


def shows(figure, colour: str) -> bool:
    wanted = np.round(np.array(to_rgba(colour)[:3]) * 255)
    return bool((np.abs(drawn(figure) - wanted).max(axis=-1) < 25).any())


def test_text_is_readable():
    names = ("font", "axes.title", "axes.label", "xtick.label", "ytick.label", "legend.font")
    assert all(plt.rcParams[f"{name}{'.' if name == 'font' else ''}size"] >= 9 for name in names)


def as_seen_without_red_or_green_cones(colour: str) -> list[np.ndarray]:
    """Simulate protanopia and deuteranopia (Viénot, Brettel and Mollon, 1999), linear RGB."""
    red, green, blue = np.array(to_rgba(colour)[:3]) ** 2.2
    protan = 0.11238 * red + 0.88762 * green, 0.11238 * red + 0.88762 * green
    deutan = 0.29275 * red + 0.70725 * green, 0.29275 * red + 0.70725 * green
    return [
        np.array([*protan, 0.00401 * red - 0.00401 * green + blue]),
        np.array([*deutan, -0.02234 * red + 0.02234 * green + blue]),
    ]


def test_colour_blind_people_can_tell_liver_from_tumour():
    liver, tumour = map(as_seen_without_red_or_green_cones, (LIVER_COLOUR, TUMOR_COLOUR))
    red, green = map(as_seen_without_red_or_green_cones, ("#D00000", "#6E6E00"))
    for a, b, c, d in zip(liver, tumour, red, green, strict=True):
        assert np.linalg.norm(a - b) > 0.5 > np.linalg.norm(c - d)


def test_a_window_maps_its_ends_to_black_and_white_and_clips_the_rest():
    shown = figures.window_image(np.array([-1000, -160, 40, 240, 3000], np.int16), (-160, 240))
    np.testing.assert_allclose(shown, [0, 0, 0.5, 1, 1])
    assert shown.dtype == np.float32


def test_the_default_window_fits_the_kind_of_values(case):
    assert figures.default_window(case) == figures.WINDOWS["abdomen"]
    grey = Case("a", "a", case.image, None, np.eye(4), spacing_known=False, intensity="grey")
    assert figures.default_window(grey) == (0, 255)


def test_truth_is_solid_and_the_prediction_dashed(labels):
    figure, (truth_ax, predicted_ax) = plt.subplots(1, 2)
    figures.show_picture(truth_ax, np.zeros((40, 60)), labels)
    figures.show_picture(predicted_ax, np.zeros((40, 60)), predicted=labels)
    for ax, dashed in ((truth_ax, False), (predicted_ax, True)):
        outlines = ax.collections
        assert [to_hex(o.get_edgecolor()[0]).upper() for o in outlines] == [
            LIVER_COLOUR,
            TUMOR_COLOUR,
        ]
        assert [o.get_linestyle()[0][1] is not None for o in outlines] == [dashed] * 2


def test_the_outline_of_the_liver_goes_around_its_tumours(labels):
    _, ax = plt.subplots()
    figures.show_picture(ax, np.zeros((40, 60)), labels)
    liver, tumour = (outline.get_paths()[0].get_extents() for outline in ax.collections)
    assert (liver.x0, liver.x1, liver.y0, liver.y1) == (9.5, 39.5, 9.5, 29.5)
    assert (tumour.x0, tumour.x1, tumour.y0, tumour.y1) == (19.5, 29.5, 14.5, 19.5)


def test_a_slice_without_liver_shows_the_picture_alone():
    _, ax = plt.subplots()
    empty = np.zeros((40, 60), np.uint8)
    figures.show_picture(ax, np.zeros((40, 60)), empty, empty)
    assert len(ax.collections) == 0


def test_a_millimetre_is_as_long_both_ways():
    figure, ax = plt.subplots()
    figures.show_picture(ax, np.zeros((20, 40)), spacing=(5.0, 2.0))
    figure.draw_without_rendering()
    assert ax.bbox.width / ax.bbox.height == pytest.approx((40 * 2) / (20 * 5))


def test_letters_and_scale_bar():
    _, ax = plt.subplots()
    figures.show_picture(
        ax, np.zeros((20, 40)), spacing=(2.0, 2.0), view="coronal", scale_bar_mm=30
    )
    places = {text.get_text(): text.xy for text in ax.texts if hasattr(text, "xy")}
    assert places == {"R": (0, 0.5), "L": (1, 0.5), "H": (0.5, 1), "F": (0.5, 0)}
    assert ax.texts[-1].get_text() == "30 mm"
    assert np.ptp(ax.lines[0].get_xdata()) == 15


def test_the_point_of_interest_lies_in_a_tumour_else_in_the_liver_else_in_the_middle(case):
    assert case.mask[figures.point_of_interest(case)] == TUMOR
    healthy = Case("a", "a", case.image, np.minimum(case.mask, 1), case.affine)
    assert healthy.mask[figures.point_of_interest(healthy)] == 1
    bare = Case("a", "a", case.image, None, case.affine)
    assert figures.point_of_interest(bare) == tuple(n // 2 for n in case.image.shape)


def test_three_views_are_cut_at_the_point_and_keep_their_shape(case):
    point = (20, 30, 5)
    figure = figures.show_views(case, point)
    figures.label_legend(figure, predicted=True)
    figure.draw_without_rendering()
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == ["axial, slice 5", "coronal, slice 30", "sagittal, slice 20"]
    x_mm, y_mm, z_mm = np.multiply(case.image.shape, case.spacing)
    shapes = [ax.bbox.width / ax.bbox.height for ax in figure.axes]
    assert shapes == pytest.approx([x_mm / y_mm, x_mm / z_mm, y_mm / z_mm], rel=1e-3)
    assert shows(figure, LIVER_COLOUR)


def test_the_dotted_lines_cross_at_the_same_voxel_in_every_view():
    image = np.zeros((12, 14, 16), np.int16)
    point = (3, 5, 7)
    image[point] = 1000
    figure = figures.show_views(Case("a", "a", image, None, np.eye(4)), point)
    for ax in figure.axes:
        column, row = ax.lines[0].get_xdata()[0], ax.lines[1].get_ydata()[0]
        assert ax.images[0].get_array()[row, column] == 1


def test_a_grid_has_one_frame_per_picture():
    figure, frames = figures.picture_grid(5, columns=3)
    assert len(frames) == 5
    assert frames[3].get_subplotspec().rowspan.start == 1
    assert not any(ax.axison for ax in figure.axes)


# --- Gallery ----------------------------------------------------------------------------------


@pytest.fixture
def gallery(tmp_path, labels):
    noise = np.random.default_rng(0).normal(50, 100, (512, 512))
    truth = np.kron(labels, np.ones((8, 8), np.uint8))[:320, :480]
    truth = np.pad(truth, ((0, 192), (0, 32)))
    for index in (7, 112):
        figures.gallery_panel(
            tmp_path, "UNet", "phantom-003", index, noise, truth, truth, {"liver": 0.9}
        )
    return tmp_path


def test_panels_are_small_and_named_after_patient_and_slice(gallery):
    panels = sorted((gallery / "UNet").iterdir())
    assert [panel.name for panel in panels] == ["phantom-003_007.png", "phantom-003_112.png"]
    assert all(panel.stat().st_size < 60_000 for panel in panels)
    picture = np.asarray(Image.open(panels[0]).convert("RGB"), int)
    for colour in (LIVER_COLOUR, TUMOR_COLOUR):
        wanted = np.array(to_rgba(colour)[:3]) * 255
        assert (np.abs(picture - wanted).max(axis=-1) < 40).any()


def test_a_contact_sheet_holds_every_panel_and_no_older_sheet(gallery):
    size = Image.open(gallery / "UNet" / "phantom-003_007.png").size
    first = figures.contact_sheet(gallery, "UNet", columns=1)
    assert Image.open(first).size == (size[0], 2 * size[1])
    content = first.read_bytes()
    assert figures.contact_sheet(gallery, "UNet", columns=1).read_bytes() == content


# --- Runs -------------------------------------------------------------------------------------


@pytest.fixture
def frames() -> dict[str, pd.DataFrame]:
    steps = [(epoch, step, 1.0 / (1 + 4 * epoch + step)) for epoch in range(3) for step in range(4)]
    val = {"epoch": range(3), "val_loss": [0.9, 0.5, 0.4], "dice_avg_class_1": [0.1, 0.5, 0.7]}
    return {
        "train": pd.DataFrame(steps, columns=["epoch", "step", "loss"]),
        "val": pd.DataFrame(val | {"dice_avg_class_2": [0.0, 0.1, 0.3]}),
    }


def test_training_curves_end_at_the_epochs_done(frames):
    loss_ax, score_ax = figures.plot_training(frames).axes
    each_step, means, validation = loss_ax.lines
    np.testing.assert_allclose(each_step.get_xdata(), np.arange(1, 13) / 4)
    assert list(means.get_xdata()) == list(validation.get_xdata()) == [1, 2, 3]
    np.testing.assert_allclose(means.get_ydata(), frames["train"].groupby("epoch").loss.mean())
    assert [line.get_label() for line in score_ax.lines] == ["liver Dice", "tumour Dice"]
    assert [line.get_color() for line in score_ax.lines] == [LIVER_COLOUR, TUMOR_COLOUR]


def test_a_classifiers_score_is_its_accuracy(frames):
    val = pd.DataFrame({"epoch": [0], "val_loss": [0.9], "val_accuracy": [0.6]})
    _, score_ax = figures.plot_training({"train": frames["train"], "val": val}).axes
    assert [line.get_label() for line in score_ax.lines] == ["accuracy"]


def test_every_patient_is_a_dot_and_the_ruled_ones_are_hollow():
    patients = pd.DataFrame(
        {
            "liver_dice": [0.9, 0.8, 0.95],
            "tumor_dice": [1.0, 0.4, 0.5],
            "liver_empty": ["neither"] * 3,
            "tumor_empty": ["both", "neither", "neither"],
        }
    )
    (ax,) = figures.plot_patient_scores(patients).axes
    _, _, _, _, measured, ruled, interval, mean = ax.lines
    assert list(measured.get_xdata()) == [0.4, 0.5]
    assert list(ruled.get_xdata()) == [1.0]
    assert ruled.get_markerfacecolor() == "none"
    assert mean.get_xdata()[0] == pytest.approx(1.9 / 3)
    low, high = interval.get_xdata()
    assert (low, high) == pytest.approx(mean_interval([1.0, 0.4, 0.5])[1:])
    assert [label.get_text().split("\n")[0] for label in ax.get_yticklabels()] == [
        "liver",
        "tumour",
    ]


@pytest.mark.parametrize(("pyramid", "expected"), [(None, "64 × 16²"), (32, "32 × 16²")])
def test_encoder_is_drawn_with_the_sizes_it_has(pyramid, expected):
    levels = [(1, 64), (16, 32), (64, 16)]
    figure = figures.plot_encoder(levels, pyramid=pyramid)
    texts = [text.get_text() for text in figure.axes[0].texts]
    sizes = [f"{channels} × {side}²" for channels, side in levels]
    assert set(sizes) | {"3 × 64²", expected} <= set(texts)
    assert len(figure.axes[0].patches) >= (4 if pyramid is None else 6)


def test_bodies_stand_as_one_sees_them():
    labels = np.zeros((60, 50, 40), np.uint8)
    labels[5:55, 5:45, 5:35] = 1
    labels[40:50, 30:42, 25:33] = 2  # towards the right, the front and the head
    figure = figures.plot_bodies(labels, (1.5, 1.5, 1.5))
    for ax, left, top in zip(figure.axes, (True, False, True), (True, True, True), strict=True):
        picture = ax.get_images()[0].get_array()
        rows, columns = np.nonzero(picture[..., 0] - picture[..., 2] > 0.05)  # orange
        middle = np.array(picture.shape[:2]) / 2
        assert len(rows) and bool(rows.mean() < middle[0]) == top, ax.get_title()
        assert bool(columns.mean() < middle[1]) == left, ax.get_title()


def test_an_empty_mask_has_no_body():
    figure = figures.plot_bodies(np.zeros((8, 8, 8), np.uint8), (1, 1, 1))
    assert all((ax.get_images()[0].get_array() == 1).all() for ax in figure.axes)


def test_confusion_matrix_shows_slices_and_their_share_of_the_true_class():
    figure = figures.plot_confusion(np.array([[3, 1, 0], [0, 0, 0], [1, 1, 2]]))
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts[:2] == ["3\n75%", "1\n25%"] and texts[4] == "0\n0%" and texts[8] == "2\n50%"
    assert figure.axes[0].get_ylabel() == "true"


def test_roc_names_the_area_and_its_interval():
    positive, score = np.arange(20) % 2 == 0, np.random.default_rng(0).random(20)
    roc = bootstrap_roc(positive, score, np.arange(20), n=50)
    (ax,) = figures.plot_roc({"lesion": roc}).axes
    mean, low, high = roc.auc
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        f"lesion: {mean:.2f} ({low:.2f} to {high:.2f})"
    ]
    assert np.array_equal(ax.lines[0].get_ydata(), roc.sensitivity)


def test_reliability_dots_grow_with_their_slices():
    true = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.9, 0.1], [0.85, 0.15], [0.95, 0.05], [0.4, 0.6]])
    (ax,) = figures.plot_reliability(true, probabilities, bins=5).axes
    small, large = ax.collections[-1].get_sizes()
    assert large == 3 * small
    assert ax.collections[-1].get_offsets()[1].tolist() == pytest.approx([0.9, 2 / 3])


def test_class_training_draws_each_class_in_its_colour():
    epochs = pd.DataFrame({"epoch": [0, 1]})
    frames = {
        "train": pd.DataFrame(
            {"epoch": [0, 0, 1, 1], "step": range(4), "loss": [1, 0.8, 0.7, 0.6]}
        ),
        "val": epochs.assign(val_loss=[1, 0.8], val_balanced_accuracy=[0.5, 0.6]),
        "per_class_accuracy": epochs.assign(**dict.fromkeys(SLICE_CLASSES, 0.4)),
    }
    lines = figures.plot_class_training(frames).axes[1].lines
    shown = {line.get_label(): line.get_color() for line in lines}
    assert shown["liver"] == LIVER_COLOUR and shown["liver with lesion"] == TUMOR_COLOUR
    assert lines[-1].get_ydata().tolist() == [0.5, 0.6]
    assert lines[0].get_ydata()[0] == pytest.approx(1 / 3)


def test_the_kept_epoch_is_marked_and_of_equals_the_one_of_lower_loss():
    val = pd.DataFrame({"epoch": range(3), "val_loss": [1, 0.8, 0.9]})
    scores = {"dice_present_class_1": [0.1, 0.6, 0.6], "dice_present_class_2": 0.5}
    train = pd.DataFrame({"epoch": range(3), "step": range(3), "loss": 1.0})
    val = val.assign(selection_score=[0.3, 0.55, 0.55], **scores)
    for ax in figures.plot_training({"train": train, "val": val}).axes:
        marks = [line for line in ax.lines if line.get_label() == "weights kept"]
        assert [mark.get_xdata()[0] for mark in marks] == [2]


def test_attention_is_drawn_where_it_is_high():
    figure, ax = plt.subplots()
    attention = np.zeros((16, 16))
    attention[:, 8:] = 1
    figures.show_attention(ax, np.zeros((16, 16)), attention, window=(-1, 1))
    overlay = ax.get_images()[-1]
    assert (overlay.get_alpha()[:, 8:] > 0).all() and not overlay.get_alpha()[:, :8].any()
