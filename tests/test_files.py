"""Files that are whole, whenever the process that writes them is killed."""

import errno
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
import pytest
from PIL import Image

from liverutils.errors import BadInput
from liverutils.figures.panels import contact_sheet, gallery_panel
from liverutils.files import PARTIAL, written_aside
from liverutils.folders import FolderKind, check_own
from liverutils.locks import held_alone, one_at_a_time
from liverutils.models import build_model, load_weights, save_weights
from liverutils.runs import RunLogs, RunRecord
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


def write_record(folder: Path) -> None:
    RunLogs(folder, "UNet").write_run(RunRecord(split={"train": [str(i) for i in range(ROWS)]}))


def write_weights(folder: Path) -> None:
    save_weights(build_model("UNet", width=8), RunLogs(folder, "UNet").weights, {"epoch": 0})


def write_mask(folder: Path) -> None:
    write_nifti(folder / "mask.nii.gz", np.zeros((64, 64, 64), np.uint8), np.eye(4))


def write_pictures(folder: Path) -> None:
    picture, labels = np.random.default_rng(0).normal(0, 80, (64, 64)), np.zeros((64, 64), int)
    gallery_panel(folder, "UNet", "someone", 7, picture, labels, labels, {"liver": 1.0})
    contact_sheet(folder, "UNet")


WRITERS = (write_table, write_record, write_weights, write_mask, write_pictures)
IS_WHOLE = {
    ".csv": lambda path: pd.read_csv(path).step.tolist() == list(range(ROWS)),
    ".json": lambda path: len(json.loads(path.read_text())["split"]["train"]) == ROWS,
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


@pytest.mark.slow
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
    with written_aside(target, replace_folder=True) as aside:
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


def remains_of(folder: Path, name: str) -> str:
    """Write `name` and be killed; return the name of what is left."""
    writer = PROCESSES.Process(target=begin_and_die, args=(folder / name,))
    writer.start()
    writer.join()
    (left,) = folder.glob(f".{name}.*.partial")
    return left.name


def begin_and_die(target: Path) -> None:
    with written_aside(target) as aside:
        aside.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)


def test_remains_are_cleared_where_their_writer_is_known_to_be_gone(tmp_path):
    dead = remains_of(tmp_path, "mask.nii.gz")
    part = PARTIAL.fullmatch(dead)
    elsewhere = dead.replace(part["host"], "node17_0a1b2c")  # The same process number lives there.
    alive = dead.replace(f"-{part['pid']}-", f"-{os.getpid()}-")
    other = dead.replace("mask", "masks")
    strangers = [".mask.nii.gz.zip.partial", ".mask.nii.gz.foo.bar.partial", ".mask.nii.gz.partial"]
    kept = {elsewhere, alive, other, *strangers}
    for name in kept:
        (tmp_path / name).write_text("")
    with written_aside(tmp_path / "mask.nii.gz") as aside:
        aside.write_text("whole")
    assert {path.name for path in tmp_path.iterdir()} == kept | {"mask.nii.gz"}


def test_a_name_may_hold_what_patterns_are_made_of(tmp_path):
    target = tmp_path / "scan [1] *?.txt"
    dead = remains_of(tmp_path, "plain")
    (tmp_path / dead.replace("plain", target.name)).write_text("")
    with written_aside(target) as aside:
        aside.write_text("whole")
    assert {path.name for path in tmp_path.iterdir()} == {target.name, dead}


def test_no_folder_with_something_in_it_is_replaced_unasked(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="holds something"), written_aside(tmp_path) as aside:
        aside.mkdir()
    with pytest.raises(BadInput, match="holds something"), written_aside(tmp_path) as aside:
        aside.write_text("a file in its place")
    assert (tmp_path / "thesis.txt").read_text() == "precious"
    with written_aside(tmp_path / "empty") as aside:
        aside.mkdir()
        (aside / "content").write_text("")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "thesis.txt"]


def test_a_link_is_not_replaced(tmp_path):
    (tmp_path / "link").symlink_to("elsewhere")
    with pytest.raises(BadInput, match="is a link to elsewhere"), written_aside(tmp_path / "link"):
        raise AssertionError("nothing is begun")
    assert (tmp_path / "link").is_symlink()


def test_what_is_renamed_is_on_the_disk_already(tmp_path, monkeypatch):
    flushed = []
    fsync = os.fsync

    def note(opened):
        fsync(opened)
        assert not (tmp_path / "store" / "content").exists() or flushed
        flushed.append(os.fstat(opened).st_ino)

    monkeypatch.setattr(os, "fsync", note)
    with written_aside(tmp_path / "store") as aside:
        (aside / "labels").mkdir(parents=True)
        (aside / "content").write_text("much")
        (aside / "labels" / "one").write_text("more")
    parts = [tmp_path, *tmp_path.rglob("*")]
    assert sorted(flushed) == sorted(path.stat().st_ino for path in parts)
    assert flushed[-1] == tmp_path.stat().st_ino, "the new name is on the disk last"


@pytest.mark.parametrize("fault", ["ENOSPC", "EDQUOT"])
def test_a_full_disk_is_said_by_every_writer(tmp_path, fault):
    full = pytest.raises(BadInput, match="No room left on the disk of")
    with full as caught, written_aside(tmp_path / "table.csv") as aside:
        aside.write_text("half")
        raise OSError(getattr(errno, fault), os.strerror(getattr(errno, fault)))
    assert caught.value.fault == "disk_full"
    assert list(tmp_path.iterdir()) == []


SHELF = FolderKind("shelf", marker="shelf.json", files=("shelf.json", "*.txt", "books/*.txt"))


@pytest.fixture
def shelf(tmp_path) -> Path:
    folder = tmp_path / "shelf"
    (folder / "books").mkdir(parents=True)
    for name in ("shelf.json", "list.txt", "books/one.txt"):
        (folder / name).write_text("")
    return folder


def test_a_folder_of_the_kind_may_be_made_again(shelf, tmp_path):
    check_own(shelf, SHELF, reads=[tmp_path / "shelf-raw", tmp_path / "raw"])
    check_own(tmp_path / "new" / "one", SHELF)
    (tmp_path / "empty").mkdir()
    check_own(tmp_path / "empty", SHELF)


@pytest.mark.parametrize("name", ["notes.md", "books/notes.md", "books/old/one.txt", ".hidden"])
def test_a_folder_that_holds_something_else_is_refused(shelf, name):
    (shelf / name).parent.mkdir(exist_ok=True)
    (shelf / name).write_text("mine")
    with pytest.raises(BadInput, match=f"{name.split('.')[0]}.* not part of it: name another"):
        check_own(shelf, SHELF)


def test_a_folder_without_the_mark_a_file_and_a_link_are_refused(shelf, tmp_path):
    (tmp_path / "link").symlink_to(shelf)
    with pytest.raises(BadInput, match="is a link to"):
        check_own(tmp_path / "link", SHELF)
    with pytest.raises(BadInput, match="is a file"):
        check_own(shelf / "list.txt", SHELF)
    (shelf / "shelf.json").unlink()
    with pytest.raises(BadInput, match="something else than a shelf") as caught:
        check_own(shelf, SHELF)
    assert caught.value.fault == "folder_in_use"


def test_what_is_read_cannot_lie_in_what_is_written_nor_around_it(tmp_path):
    raw = tmp_path / "raw"
    (raw / "inner").mkdir(parents=True)
    (tmp_path / "way").symlink_to(raw)
    for out in (raw, raw / "inner", raw / "new", tmp_path, tmp_path / "way" / "new", raw / ".."):
        with pytest.raises(BadInput, match="which it would be made from: name another folder"):
            check_own(out, SHELF, reads=[raw])


def hold(target: Path, holding, may_go) -> None:
    with held_alone(target, "never said"):
        holding.set()
        may_go.wait(60)


def test_the_second_is_told_and_a_lock_falls_with_its_process(tmp_path):
    target, holding, may_go = tmp_path / "run", PROCESSES.Event(), PROCESSES.Event()
    first = PROCESSES.Process(target=hold, args=(target, holding, may_go))
    first.start()
    assert holding.wait(120)
    assert (tmp_path / ".run.lock").stat().st_mode & 0o777 == 0o666, "for every user"
    with pytest.raises(BadInput, match="busy") as caught, held_alone(target, "busy"):
        raise AssertionError("two hold it")
    assert caught.value.fault == "in_use"
    first.kill()
    first.join()
    with held_alone(target, "busy"):
        pass
    assert list(tmp_path.iterdir()) == []


def count_up(target: Path, times: int) -> None:
    for _ in range(times):
        with one_at_a_time(target):
            number = int(target.read_text())
            time.sleep(0.001)
            target.write_text(str(number + 1))


def test_one_at_a_time_is_one_though_the_lock_is_removed_each_time(tmp_path):
    target = tmp_path / "counter"
    target.write_text("0")
    counting = [PROCESSES.Process(target=count_up, args=(target, 10)) for _ in range(3)]
    for process in counting:
        process.start()
    for process in counting:
        process.join()
    assert target.read_text() == "30"
    assert list(tmp_path.iterdir()) == [target]
