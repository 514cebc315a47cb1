"""The catalogue in batch: runs that die and go on, other machines, GPUs that are not shared."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import psutil
import pytest
import yaml

from liverutils.errors import BadInput
from liverutils.runs import read_record, read_run
from liverutils.runs.gpu import lock_one, runs_per_gpu, visible_gpus

REPOSITORY = Path(__file__).parent.parent
EPOCHS = 4
SAME = ("train", "val", "test", "patients", "lesions")


def make_run(folder: Path, runs: str, *options: str) -> subprocess.Popen:
    environment = Path(sys.executable).parents[1]
    command = ["make", "run", "PROFILE=smoke", f"RUNS={runs}", f"VENV={environment}", *options]
    # An older stamp than the copy's pyproject.toml would install the copy into the environment.
    command += [f"--old-file={environment}/.installed"]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(running: subprocess.Popen) -> str:
    said = running.communicate()[0].decode()
    assert running.returncode == 0, said[-3000:]
    return said


def set_run(folder: Path, run: str, **entry) -> None:
    """Change a run of the copy's catalogue."""
    path = folder / "notebooks" / "runs.yaml"
    content = yaml.safe_load(path.read_text())
    content["runs"][run] |= entry
    path.write_text(yaml.safe_dump(content))


def text_of(notebook: Path) -> str:
    """All that an executed notebook printed, tracebacks included."""
    outputs = [
        output
        for cell in nbformat.read(notebook, as_version=4).cells
        for output in cell.get("outputs", [])
    ]
    return "".join(o.get("text", "") + "".join(o.get("traceback", "")) for o in outputs)


def tables(folder: Path, run: str) -> dict[str, pd.DataFrame]:
    logged = read_run(folder / "build" / "smoke" / "logs", run)
    return {kind: logged[kind] for kind in SAME if kind in logged}


def assert_same_numbers(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    for kind, table in one.items():
        pd.testing.assert_frame_equal(table, other[kind], check_exact=True)


def settings(folder: Path, run: str) -> dict:
    return read_record(folder / "build" / "smoke" / "logs", run).settings


def kernel_of(running: subprocess.Popen) -> psutil.Process:
    """The process in which the notebook's cells run."""
    below = psutil.Process(running.pid).children(recursive=True)
    return next(p for p in below if "ipykernel_launcher" in " ".join(p.cmdline()))


def test_a_killed_run_keeps_what_it_has_and_goes_on(project):
    set_run(project, "UNet", smoke={"epochs": EPOCHS})
    logs = project / "build" / "smoke" / "logs"
    running = make_run(project, "UNet 01_ct_scans", "THREADS=1", "CORES=1")
    checkpoint = logs / "UNet" / "UNet.pt"
    while not checkpoint.exists():
        assert running.poll() is None, running.stdout.read().decode()
        time.sleep(0.02)
    kernel_of(running).send_signal(signal.SIGKILL)
    said = running.communicate()[0].decode()
    assert running.returncode != 0
    assert "Kernel died" in said
    assert (project / "build/done/smoke/own/01_ct_scans").exists(), "the other run did not go on"
    assert checkpoint.exists()
    assert nbformat.read(logs / "UNet" / "UNet.ipynb", as_version=4).cells
    assert len(tables(project, "UNet")["val"]) < EPOCHS

    finish(make_run(project, "UNet 01_ct_scans", "THREADS=1", "CORES=1"))
    assert "Resuming after epoch" in text_of(logs / "UNet" / "UNet.ipynb")
    resumed, chosen = tables(project, "UNet"), settings(project, "UNet")
    assert not list(project.rglob("*.partial"))

    for _ in range(4):  # On a busy machine the trial may find another number format faster.
        shutil.rmtree(project / "build")
        finish(make_run(project, "UNet", "THREADS=1", "CORES=1"))
        if settings(project, "UNet") == chosen:
            break
    assert settings(project, "UNet") == chosen
    assert_same_numbers(resumed, tables(project, "UNet"))


def test_a_run_over_its_limit_stops_and_says_where(project):
    set_run(project, "UNet", smoke={"epochs": 500}, minutes={"smoke": 0.5})
    running = make_run(project, "UNet", "THREADS=1")
    said = running.communicate()[0].decode()
    assert running.returncode != 0
    assert "Timeout" in said or "timed out" in said
    logs = project / "build" / "smoke" / "logs"
    assert (logs / "UNet" / "UNet.pt").exists()
    assert len(tables(project, "UNet")["val"]) >= 1
    assert "train(learn" in (logs / "UNet" / "UNet.ipynb").read_text()


@pytest.fixture
def slurm(tmp_path):
    """A Slurm cluster of one node."""
    if not all(shutil.which(daemon) for daemon in ("slurmctld", "slurmd", "munged")):
        pytest.skip("Slurm is not installed: apt-get install slurm-wlm munge")
    if os.geteuid() != 0:
        pytest.skip("starting a Slurm cluster needs root")
    script = REPOSITORY / "tests" / "slurm" / "cluster.sh"
    subprocess.run([script, "start", tmp_path / "cluster"], check=True)
    yield
    subprocess.run([script, "stop", tmp_path / "cluster"], check=True)


def test_slurm_gives_the_same_numbers(project, slurm):
    said = finish(make_run(project, "UNet SimpleCNN", "THREADS=1", "EXECUTOR=slurm"))
    assert "submitted with SLURM jobid" in said
    from_slurm = {run: tables(project, run) for run in ("UNet", "SimpleCNN")}
    chosen = {run: settings(project, run) for run in from_slurm}
    shutil.rmtree(project / "build")
    finish(make_run(project, "UNet SimpleCNN", "THREADS=1"))
    for run, there in from_slurm.items():
        here = tables(project, run)
        if settings(project, run) == chosen[run]:
            assert_same_numbers(there, here)
        else:  # The trial found another number format faster, which rounds otherwise.
            np.testing.assert_allclose(there["train"].loss, here["train"].loss, rtol=0.02)


def test_a_second_call_does_nothing_and_a_changed_run_is_redone_alone(project):
    finish(make_run(project, "01_ct_scans UNet", "THREADS=1"))
    logs = project / "build" / "smoke" / "logs"
    assert (logs / "UNet" / "UNet_patients.csv").is_file()
    assert (logs / "UNet" / "UNet.ipynb").is_file()
    assert "Nothing to be done" in finish(make_run(project, "01_ct_scans UNet", "THREADS=1"))
    before = (project / "build/done/smoke/own/01_ct_scans").stat().st_mtime
    set_run(project, "UNet", smoke={"epochs": 1})
    finish(make_run(project, "01_ct_scans UNet", "THREADS=1"))
    assert len(tables(project, "UNet")["val"]) == 1
    assert (project / "build/done/smoke/own/01_ct_scans").stat().st_mtime == before


def test_the_folder_of_scans_may_have_a_space_in_its_name(project, tmp_path):
    scans = tmp_path / "my scans"
    scans.mkdir()
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--printshellcmds", "--cores", "1"]
    command += ["--config", "profile=smoke", "runs=UNet", "dataset=folder", f"data_dir={scans}"]
    planned = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
    assert f"liverutils prepare folder '{scans}' " in planned.stdout + planned.stderr


def test_as_many_runs_share_a_gpu_as_are_asked_for(tmp_path, monkeypatch):
    taken = [lock_one(["0", "1"], tmp_path, share=2) for _ in range(4)]
    assert [gpu for gpu, _ in taken] == ["0", "1", "0", "1"]
    taken[2][1].release()
    again, lock = lock_one(["0", "1"], tmp_path, share=2)
    assert again == "0"
    for _, held in [*taken, (again, lock)]:
        held.release()
    monkeypatch.setenv("GPUS_SHARE", "3")
    assert runs_per_gpu() == 3
    for wrong in ("0", "many", "-1"):
        monkeypatch.setenv("GPUS_SHARE", wrong)
        with pytest.raises(BadInput, match="GPUS_SHARE"):
            runs_per_gpu()


def test_two_runs_never_share_a_gpu(tmp_path):
    first, held = lock_one(["0", "1"], tmp_path)
    second, also_held = lock_one(["0", "1"], tmp_path)
    assert {first, second} == {"0", "1"}
    held.release()
    third, last = lock_one(["0", "1"], tmp_path)
    assert third == first
    also_held.release()
    last.release()


def test_of_four_runs_at_once_no_two_see_the_same_gpu(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "test-c,test-d")
    code = (
        "import os, time; start = time.time(); time.sleep(1);"
        "print(os.environ['CUDA_VISIBLE_DEVICES'], start, time.time())"
    )
    command = [sys.executable, "-m", "liverutils.runs.gpu", sys.executable, "-c", code]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = [process.communicate()[0].split() for process in running]
    assert {gpu for gpu, *_ in said} == {"test-c", "test-d"}
    for mine in ("test-c", "test-d"):
        spans = sorted((float(start), float(end)) for gpu, start, end in said if gpu == mine)
        assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_a_lock_falls_with_the_process_that_held_it(tmp_path):
    code = (
        "import os, pathlib, sys; from liverutils.runs.gpu import lock_one;"
        f"gpu, lock = lock_one(['0'], pathlib.Path({str(tmp_path)!r})); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", code])
    assert killed.returncode == -signal.SIGKILL
    gpu, lock = lock_one(["0"], tmp_path)
    assert gpu == "0"
    lock.release()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="needs two users of one machine")
def test_a_second_user_takes_the_same_lock(monkeypatch):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o1777)
        monkeypatch.setattr(tempfile, "gettempdir", lambda: folder)
        lock_one(["0"])[1].release()
        child = os.fork()
        if child == 0:  # the second user
            os.setuid(65534)
            try:
                lock_one(["0"])[1].release()
            except BaseException:
                os._exit(1)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0


def test_no_lock_is_taken_through_a_link(tmp_path):
    (tmp_path / "0.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadInput, match="0.lock is a link"):
        lock_one(["0"], tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_gpus_are_locked_by_uuid_however_they_were_named(monkeypatch, tmp_path):
    query = tmp_path / "nvidia-smi"
    query.write_text("#!/bin/sh\necho '0, GPU-aa'\necho '1, GPU-bb'\n")
    query.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus() == ["GPU-aa", "GPU-bb"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1, GPU-aa")
    assert visible_gpus() == ["GPU-bb", "GPU-aa"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []


def test_a_job_of_a_scheduler_keeps_the_gpus_that_it_was_given(monkeypatch):
    """Two jobs at once, each of which sees its own GPU as number 0, do not wait for each other."""
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    show = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"
    command = [sys.executable, "-m", "liverutils.runs.gpu", sys.executable, "-c", show]
    _, held = lock_one(["0"])
    with held:
        said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert said.stdout.strip() == "0,1"


def test_a_command_sees_the_gpu_that_was_locked_for_it(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "test-a,test-b")
    assert visible_gpus() == ["test-a", "test-b"]
    show = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"
    command = [sys.executable, "-m", "liverutils.runs.gpu", sys.executable, "-c", show]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.strip() == "test-a"
