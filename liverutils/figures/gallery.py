"""The gallery of a run: one picture per held-out patient, and all of them on one sheet."""

from pathlib import Path

import numpy as np
from IPython.display import Image

from liverutils.figures.panels import contact_sheet, gallery_panel
from liverutils.figures.style import GREY_WINDOW, WINDOWS
from liverutils.prediction import predict_labels
from liverutils.scans import LIVER, TUMOR
from liverutils.scoring import score_volume
from liverutils.slices import SliceSet
from liverutils.training import CourseLearner


def draw_gallery(learn: CourseLearner, gallery: Path | str, run: str) -> Image:
    """Draw the most telling slice of each held-out patient; return the contact sheet as a picture.

    That slice is the one with the most tumour, or with the most liver where there is no tumour.

    Args:
        learn: A trained learner.
        gallery: The folder of all runs' pictures; this run's go to `<gallery>/<run>/`.
        run: Name of the run.
    """
    test = learn.dls.test.dataset
    for volume in test.slices.volume.unique():
        _draw_patient(learn, test.of_volume(volume), Path(gallery), run)
    return Image(filename=contact_sheet(gallery, run))


def _draw_patient(learn: CourseLearner, slices: SliceSet, gallery: Path, run: str) -> None:
    table = slices.slices
    structure = "tumor_px" if table.tumor_px.any() else "liver_px"
    chosen = int(np.argmax(table[structure]))
    truth = slices.masks[slices.rows[chosen]].cpu().numpy()
    predicted = predict_labels(learn, slices)[chosen]
    dice = {
        name: score_volume(predicted >= label, truth >= label, None)["dice"]
        for name, label in (("liver", LIVER), ("tumour", TUMOR))
    }
    is_hu = learn.dls.facts["data"]["intensity"] == "HU"
    gallery_panel(
        gallery,
        run,
        table.patient[chosen],
        table["index"][chosen],
        slices.images[slices.rows[chosen]].cpu().numpy(),
        truth,
        predicted,
        dice,
        window=WINDOWS["abdomen"] if is_hu else GREY_WINDOW,
    )
