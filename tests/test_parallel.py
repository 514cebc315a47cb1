"""Processes that end with the one that wants them, and a batch that begins again after a kill."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from liverutils.errors import BadInput
from liverutils.locks import held_alone
from liverutils.parallel import in_processes
from liverutils.runs import batch

SECONDS_TO_END = 20  # On a busy machine; the watch looks twice a second.


def wait_for(condition, seconds: float = SECONDS_TO_END) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def are_gone(processes) -> bool:
    return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)


WORK = """
import sys, time
from liverutils.parallel import in_processes
def work(item):
    open(f"{sys.argv[1]}/{item}", "w").close()
    time.sleep(item)
    return item
if __name__ == "__main__":
    list(in_processes(work, [600, 601], 2))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_no_worker_outlives_its_parent(tmp_path, how):
    (tmp_path / "work.py").write_text(WORK)
    marks = tmp_path / "marks"
    marks.mkdir()
    parent = subprocess.Popen([sys.executable, tmp_path / "work.py", marks])
    assert wait_for(lambda: len(list(marks.iterdir())) == 2, 120)
    below = psutil.Process(parent.pid).children(recursive=True)
    assert len(below) >= 2
    parent.send_signal(how)
    parent.wait()
    assert wait_for(lambda: are_gone(below)), [p.cmdline() for p in below if p.is_running()]


def end_itself(item):
    if item == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


@pytest.mark.slow
def test_a_killed_worker_is_said():
    with pytest.raises(BadInput, match="memory ran out") as caught:
        list(in_processes(end_itself, range(4), 2))
    assert caught.value.fault == "killed_worker"


# A grandchild in a session of its own, as a notebook's kernel is.
KERNEL = """
import subprocess, sys, time
kernel = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"],
                          start_new_session=True)
print(kernel.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_run_and_its_kernel_end_with_what_started_them(how):
    # What a shell starts in the background is deaf to Ctrl-C, and so is all that it starts.
    hear = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    run = f"[sys.executable, '-m', 'liverutils.parallel', {sys.executable!r}, '-c', {KERNEL!r}]"
    start = f"{hear}; import subprocess, sys; subprocess.run({run})"
    top = subprocess.Popen([sys.executable, "-c", start], stdout=subprocess.PIPE, text=True)
    kernel = psutil.Process(int(top.stdout.readline()))
    below = [kernel, *psutil.Process(top.pid).children(recursive=True)]
    # Ctrl-C and TERM reach the run itself; of a KILL of what started it, it learns by itself.
    target = top.pid if how == signal.SIGKILL else psutil.Process(top.pid).children()[0].pid
    os.kill(target, how)
    assert wait_for(lambda: are_gone(below)), below
    top.kill()
    top.wait()


def test_a_lock_of_a_killed_snakemake_is_removed_and_a_live_one_is_not(tmp_path, monkeypatch):
    locks = tmp_path / ".snakemake" / "locks"
    locks.mkdir(parents=True)
    left = [locks / "0.input.lock", locks / "0.output.lock"]
    began = []

    def snakemake(arguments):
        began.append((arguments, any(path.exists() for path in left)))

    monkeypatch.setattr("snakemake.cli.main", snakemake)
    monkeypatch.setattr(batch, "end_with_parent", lambda: None)
    for path in left:
        path.write_text("")
    with (
        held_alone(tmp_path / ".snakemake" / "batch", "held"),
        pytest.raises(BadInput, match="Another `make run` works in") as caught,
    ):
        batch.main(["--cores", "1"], tmp_path)
    assert caught.value.fault == "in_use"
    assert began == [] and all(path.exists() for path in left)
    batch.main(["--cores", "1"], tmp_path)
    assert began == [(["--cores", "1"], False)]


def test_the_first_thing_a_slurm_job_does_is_not_to_wait_for_a_lock(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    path = Path(tmp_path, "liverutils-gpu-0.lock")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    command = [sys.executable, "-m", "liverutils.runs.gpu", sys.executable, "-c", "print(1)"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "1\n"
    assert not path.exists()
