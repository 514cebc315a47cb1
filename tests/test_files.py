"""Files that are whole, whenever the process that writes them is killed."""

import json
import multiprocessing
import os
import random
import shutil
import signal
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from PIL import Image

from liverutils.figures.panels import contact_sheet, gallery_panel
from liverutils.files import written_aside
from liverutils.models import build_model, load_weights, save_weights
from liverutils.runs import RunLogs
from liverutils.scans import write_nifti

KILLS, ROWS = 24, 20_000
PROCESSES = multiprocessing.get_context("forkserver")
# Imported once, not in each process.
PROCESSES.set_forkserver_preload(
    ["liverutils.runs.logs", "liverutils.models.build", "liverutils.figures.slices"]
)


def write_table(folder: Path) -> None:
    table = pd.DataFrame({"epoch": 0, "step": range(ROWS), "loss": np.pi})
    RunLogs(folder, "UNet").write("train", table)


def write_facts(folder: Path) -> None:
    RunLogs(folder, "UNet").write_run({"patients": list(range(ROWS))})


def write_weights(folder: Path) -> None:
    save_weights(build_model("UNet", width=8), RunLogs(folder, "UNet").weights, {"epoch": 0})


def write_mask(folder: Path) -> None:
    write_nifti(folder / "mask.nii.gz", np.zeros((64, 64, 64), np.uint8), np.eye(4))


def write_pictures(folder: Path) -> None:
    picture, labels = np.random.default_rng(0).normal(0, 80, (64, 64)), np.zeros((64, 64), int)
    gallery_panel(folder, "UNet", "someone", 7, picture, labels, labels, {"liver": 1.0})
    contact_sheet(folder, "UNet")


WRITERS = (write_table, write_facts, write_weights, write_mask, write_pictures)
IS_WHOLE = {
    ".csv": lambda path: pd.read_csv(path).step.tolist() == list(range(ROWS)),
    ".json": lambda path: json.loads(path.read_text())["patients"] == list(range(ROWS)),
    ".safetensors": lambda path: load_weights(path)[1]["epoch"] == 0,
    ".gz": lambda path: nib.load(path).get_fdata().shape == (64, 64, 64),
    ".png": lambda path: Image.open(path).convert("RGB").size > (0, 0),
}


def write_for_ever(write, folder: Path, started) -> None:
    write(folder)
    started.set()
    while True:
        write(folder)


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_files_are_whole_whenever_their_writer_is_killed(tmp_path):
    moments, remains = random.Random(0), set()
    for kill in range(KILLS):
        started = PROCESSES.Event()
        writing = (WRITERS[kill % len(WRITERS)], tmp_path, started)
        writer = PROCESSES.Process(target=write_for_ever, args=writing)
        writer.start()
        assert started.wait(120)
        time.sleep(moments.uniform(0, 0.2))
        writer.kill()
        writer.join()
        files = files_below(tmp_path)
        remains |= {path for path in files if path.suffix == ".partial"}
        broken = [path for path in files if not (path in remains or IS_WHOLE[path.suffix](path))]
        assert broken == []
    assert remains, "no process was killed while it wrote"

    for write in WRITERS:
        write(tmp_path)
    assert {path.suffix for path in files_below(tmp_path)} == IS_WHOLE.keys()  # No remains.


def write_folder(target: Path, content: str) -> None:
    with written_aside(target) as aside:
        aside.mkdir()
        (aside / "content").write_text(content)


def replace_and_die(target: Path) -> None:
    """Replace a folder; die where the old one is removed."""
    shutil.rmtree = lambda path: os.kill(os.getpid(), signal.SIGKILL)
    write_folder(target, "new")


def test_a_folder_is_replaced_whole(tmp_path):
    target = tmp_path / "store"
    write_folder(target, "old")
    writer = PROCESSES.Process(target=replace_and_die, args=(target,))
    writer.start()
    writer.join()
    assert writer.exitcode == -signal.SIGKILL
    assert (target / "content").read_text() == "new"
    write_folder(target, "newer")
    assert (target / "content").read_text() == "newer"
    assert list(tmp_path.iterdir()) == [target]
