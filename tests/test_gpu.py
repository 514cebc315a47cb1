"""What the GPU script does besides needing a GPU: order, the end of the time, packing."""

import sys
import tarfile
import time
from pathlib import Path

import pytest

from liverutils.runs import PlannedRun
from tests.gpu import pack, side_by_side


def planned(name: str, after: tuple[str, ...] = ()) -> PlannedRun:
    return PlannedRun(name, Path("n.ipynb"), "core", {}, {}, Path("out.ipynb"), 1, after)


@pytest.fixture
def programs(monkeypatch):
    """Have each run be a small program, by the run's name; note the order they start in."""
    import subprocess

    code, order = {}, []

    def start(run):
        order.append(run.name)
        command = [sys.executable, "-c", code.get(run.name, "")]
        return subprocess.Popen(command, start_new_session=True)

    monkeypatch.setattr(side_by_side, "start", start)
    monkeypatch.setattr(side_by_side, "SECONDS_BETWEEN_LOOKS", 0.05)
    return code, order


def test_runs_wait_for_those_whose_logs_they_read(programs):
    code, order = programs
    code["b"] = "raise SystemExit(3)"
    runs = [planned("a", after=("b",)), planned("b"), planned("c")]
    done = side_by_side.run_all(runs, at_once=2, end=time.monotonic() + 60)
    assert order.index("a") > order.index("b")
    assert done == {"a": 0, "b": 3, "c": 0}


def test_the_end_of_the_time_stops_what_is_going(programs):
    code, _ = programs
    code["a"] = "import time; time.sleep(600)"
    begun = time.monotonic()
    done = side_by_side.run_all([planned("a"), planned("b")], at_once=1, end=begun + 1)
    assert done == {"a": None, "b": None}
    assert time.monotonic() - begun < 30


def test_archives_hold_whole_runs_and_stay_below_the_limit(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pack, "MOST_BYTES", 1000)
    for name, size in {"a": 600, "b": 600, "c": 300, "d": 2000}.items():
        for folder in (Path("runs/logs") / name, Path("runs/images_gallery") / name):
            folder.mkdir(parents=True)
        Path("runs/logs", name, "x.csv").write_bytes(b"x" * size)
        Path("runs/logs", name, f"{name}.pt").write_bytes(b"")
    runs = pack.folders_of_runs(Path("runs/logs"), Path("runs/images_gallery"))
    archives = pack.pack(runs, tmp_path)
    assert len(archives) == 2
    members = []
    for path in archives:
        with tarfile.open(path) as archive:
            members += archive.getnames()
    assert {"runs/logs/a/x.csv", "runs/logs/b/x.csv", "runs/logs/c/x.csv"} <= set(members)
    assert not any(name.endswith(".pt") for name in members)
    assert "No room for d" in capsys.readouterr().out
