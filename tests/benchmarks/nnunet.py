"""Our U-Net against nnU-Net v2 in its 2d configuration, in the same time on the same patients.

python -m tests.benchmarks.nnunet [DATA] [MINUTES] [PIXELS] [GB …]

DATA is a phantom cohort or `lits-png`, which is found where LIVER_CT_REAL_DATA says. Ours is the
U-Net of notebook 22 in profile cpu, on slices of PIXELS × PIXELS. nnU-Net plans by itself, from the
scans' own voxels, for a GPU of 8 GB, its default, or once for each GB given: with less memory its
batches are smaller, and it takes more steps in the same time. All learn from the training patients
alone, for MINUTES, lower their learning rates by the share of the time that is gone, and keep their
last weights.

Counted in our MINUTES are the choice of the settings and the scores of the validation patients
after each epoch. nnU-Net's begin with its first step, and it scores no validation patients. Not
counted is what comes before: the slice store, and nnU-Net's planning and preprocessing, which see
the training and validation patients. The held-out scans go from files to masks on their own voxels;
nnU-Net answers for each slice and its three mirrored copies, as it does by default, ours once.
"""

import json
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import torch

from liverutils.course import find_course_cases, repository_root
from liverutils.models import build_model, count_parameters
from liverutils.prediction import segment
from liverutils.prediction.network import TrainedNetwork
from liverutils.runs import compare_pair
from liverutils.scans import TUMOR, read_nifti_mask, write_nifti
from liverutils.scoring import lesion_summary, mean_interval, score_lesions, score_patient
from liverutils.slices import (
    Augment,
    SliceStore,
    Split,
    build_store,
    export_nnunet,
    slice_loaders,
    split_patients,
)
from liverutils.sources import CaseFiles
from liverutils.training import (
    CourseLearner,
    choose_device,
    segmentation_learner,
    use_fastest_settings,
)
from tests.benchmarks.common import report, seconds_of
from tests.benchmarks.earlier_recipe import OneCycleByTime, Stopwatch, data_folder, fit

BATCH = 8
WIDTH = 16
PEAK_LR = 0.002
PLAN = "nnunetv2.experiment_planning.plan_and_preprocess_entrypoints"
DATASET = "Dataset001_liver"
SCORES = ["liver_dice", "tumor_dice"]
LESIONS = ["lesions", "found", "false_positives"]


def main(data: str = "phantom", minutes: str = "10", pixels: str = "128", *gigabytes: str) -> None:
    """Train all, segment the held-out scans with each, and write scores and differences."""
    if find_spec("nnunetv2") is None:
        sys.exit(
            "This environment lacks nnU-Net: "
            "install it with `pip install --constraint constraints.txt nnunetv2`."
        )
    seconds = 60 * float(minutes)
    cases = find_course_cases(data, data_folder(data))
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        prepare_s = seconds_of(lambda: build_store(cases, folder / "store", size=int(pixels)))
        store = SliceStore.open(folder / "store")
        split = split_patients(store.slices)
        facts = {
            "ours": {"prepare_s": prepare_s}
            | run_ours(store, split, cases, seconds, folder / "ours")
        }
        for gb in gigabytes or ("8",):
            recipe = f"nnU-Net, {gb} GB"
            facts[recipe] = run_nnunet(split, cases, seconds, gb, folder / recipe)
        scores = {recipe: score_masks(store, split, folder / recipe / "masks") for recipe in facts}
    report_all(data, float(minutes), facts, scores)


# --- Ours -------------------------------------------------------------------------------------


def run_ours(
    store: SliceStore, split: Split, cases: list[CaseFiles], seconds: float, folder: Path
) -> dict:
    """Train our U-Net, write masks of the held-out scans into `folder`, and say what it took."""
    dls = slice_loaders(
        store, split, batch_size=BATCH, augment=Augment(), device=choose_device("auto")
    )
    torch.manual_seed(0)
    learn = segmentation_learner(dls, build_model("UNet", width=WIDTH), lr=PEAK_LR)
    train_s = seconds_of(lambda: train_ours(learn, seconds))
    tested = [files for files in cases if files.patient in split.test]
    return {
        "picture": f"{store.info.size}x{store.info.size}",
        "batch": BATCH,
        "parameters": count_parameters(learn.model),
        "train_s": train_s,
        "steps": learn.train_iter,
        "predict_s": seconds_of(lambda: predict_ours(learn, tested, folder / "masks")),
    }


def train_ours(learn: CourseLearner, seconds: float) -> None:
    """Choose the settings and train, both within `seconds`."""
    stopwatch = Stopwatch(seconds)
    use_fastest_settings(learn)
    fit(learn, stopwatch, OneCycleByTime(stopwatch, PEAK_LR))


def predict_ours(learn: CourseLearner, tested: list[CaseFiles], masks: Path) -> None:
    """Segment scans, from their files to files of masks."""
    masks.mkdir(parents=True)
    network = TrainedNetwork(
        learn.model.eval(), learn.dls.facts["data"], learn.dls.device, learn.settings
    )
    for files in tested:
        case = files.load()
        write_nifti(masks / f"{case.volume}.nii.gz", segment(network, case).labels, case.affine)


# --- nnU-Net ----------------------------------------------------------------------------------


def run_nnunet(
    split: Split, cases: list[CaseFiles], seconds: float, gigabytes: str, folder: Path
) -> dict:
    """Plan nnU-Net for so much memory, train it, and segment the held-out scans, as `run_ours`."""
    raw = folder / "nnUNet_raw" / DATASET  # whose split the planner takes over
    export_nnunet(cases, raw, split=split, progress=False)
    cores = os.cpu_count()
    plan = ["-c", "2d", "-gpu_memory_target", gigabytes, "-npfp", cores, "-np", cores]
    prepare_s = seconds_of(lambda: run_module(folder, PLAN, "-d", 1, *plan))
    run_module(folder, "tests.benchmarks._nnunet", seconds, choose_device("auto"), folder)
    return {"prepare_s": prepare_s} | json.loads((folder / "facts.json").read_text())


def run_module(folder: Path, module: str, *arguments: object) -> None:
    """Run a module of nnU-Net's, or one that uses it, with all of its folders in `folder`."""
    names = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    folders = {name: str(folder / name) for name in names}
    subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        env=os.environ | folders | {"nnUNet_def_n_proc": str(os.cpu_count())},
        cwd=repository_root(),
        check=True,
    )


# --- Scores -----------------------------------------------------------------------------------


def score_masks(store: SliceStore, split: Split, masks: Path) -> pd.DataFrame:
    """Score a folder of masks on the scans' own voxels: one row per held-out scan."""
    rows = []
    for volume, scan in store.info.volumes.items():
        if scan.patient not in split.test:
            continue
        labels, true = read_nifti_mask(masks / f"{volume}.nii.gz")[0], store.true_mask(volume)
        lesions = score_lesions(labels == TUMOR, true == TUMOR, scan.spacing)
        rows.append(
            {"patient": scan.patient, "volume": volume}
            | score_patient(labels, true, scan.spacing)
            | lesion_summary(lesions).loc["all", LESIONS].to_dict()
        )
    return pd.DataFrame(rows)


def report_all(
    data: str, minutes: float, facts: dict[str, dict], scores: dict[str, pd.DataFrame]
) -> None:
    """Report each held-out scan, each recipe, and ours − nnU-Net with its paired interval."""
    patients = pd.concat(table.assign(recipe=recipe) for recipe, table in scores.items())
    shown = ["recipe", "patient", "volume", *SCORES, *LESIONS]
    report(f"nnunet_{data}_patients", patients[shown].to_dict("records"))
    recipes = [
        {"data": data, "minutes": minutes, "recipe": recipe} | took | means(scores[recipe])
        for recipe, took in facts.items()
    ]
    report(f"nnunet_{data}", recipes)
    ours = scores.pop("ours")
    differences = [
        {"recipe": "ours", "other": other, "score": name}
        | compare_pair(ours[name].to_numpy(), table[name].to_numpy())
        for other, table in scores.items()
        for name in SCORES
    ]
    report(f"nnunet_{data}_differences", differences)


def means(patients: pd.DataFrame) -> dict[str, float]:
    """Mean Dice over the patients with their intervals, and all lesions."""
    row = {"patients": len(patients)}
    for name in SCORES:
        interval = mean_interval(patients[name])
        row |= {name: interval.mean, f"{name}_low": interval.low, f"{name}_high": interval.high}
    return row | patients[LESIONS].sum().to_dict()


if __name__ == "__main__":
    main(*sys.argv[1:])
