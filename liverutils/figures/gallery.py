"""The gallery of a run: one picture per held-out patient, and all of them on one sheet."""

import warnings
from pathlib import Path

import numpy as np
from IPython.display import Image
from PIL import Image as Picture

from liverutils.figures.panels import contact_sheet, gallery_panel
from liverutils.figures.style import GREY_WINDOW, WINDOWS
from liverutils.files import written_aside
from liverutils.folders import FolderKind, check_own
from liverutils.prediction import predict_labels
from liverutils.runs import read_record
from liverutils.scans import LIVER, TUMOR
from liverutils.scoring import score_volume
from liverutils.slices import SliceSet
from liverutils.training import CourseLearner

GALLERY = FolderKind(
    "gallery", marker="contact_sheet.png", files=("contact_sheet.png", "*_[0-9]*.png")
)


def draw_gallery(learn: CourseLearner, gallery: Path | str, run: str) -> Image:
    """Draw the most telling slice of each held-out patient; return the contact sheet as a picture.

    That slice is the one with the most tumour, or with the most liver where there is no tumour.

    Args:
        learn: A trained learner.
        gallery: The folder of all runs' pictures; this run's go to `<gallery>/<run>/`.
        run: Name of the run.

    Raises:
        BadInput: folder_in_use, not_writable, disk_full.
    """
    test, folder = learn.dls.test.dataset, Path(gallery) / run
    check_own(folder, GALLERY)
    with written_aside(folder, replace_folder=True) as aside:  # No panel of an earlier run stays.
        for volume in test.slices.volume.unique():
            _draw_patient(learn, test.of_volume(volume), aside.parent, aside.name)
        sheet = contact_sheet(aside.parent, aside.name, run_id=learn.run_record.run_id)
    return Image(filename=folder / sheet.name)


def contact_sheets(gallery: Path | str, logs_dir: Path | str) -> dict[str, Path]:
    """Return the contact sheets of a gallery by run.

    A sheet of another run than the run.json in `logs_dir` tells of is left out with a warning: its
    patients may be none that the run held out, and its outlines are another network's.
    """
    sheets = {}
    for sheet in sorted(Path(gallery).glob(f"*/{GALLERY.marker}")):
        run = sheet.parent.name
        run_id = read_record(logs_dir, run).run_id
        with Picture.open(sheet) as picture:
            drawn_for = getattr(picture, "text", {}).get("run_id") or None
        if run_id and drawn_for != run_id:
            warnings.warn(
                f"{sheet} is left out: it was not drawn by the run that {run}_run.json tells of.",
                stacklevel=2,
            )
        else:
            sheets[run] = sheet
    return sheets


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
