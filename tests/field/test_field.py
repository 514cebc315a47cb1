"""What people meet with their scans, on the smallest phantom; `python -m tests.field` does more."""

import pytest

from liverutils.phantom import COHORTS, make_patient
from liverutils.sources import find_cases
from tests.field.table import FILES, NOT_ON_SMALL, VOXELS, run, verify_cases


@pytest.fixture(scope="module")
def small():
    return make_patient(COHORTS["phantom-smoke"], 1)


@pytest.mark.parametrize("name", [name for name in (*VOXELS, *FILES) if name not in NOT_ON_SMALL])
def test_circumstance(small, name):
    row = run("phantom-smoke", name, small)
    assert row.verdict == "right", row.happens


def test_real_scan_gives_no_alarm(real_data):
    table = verify_cases(find_cases("ircadb", real_data / "3Dircadb1.17"), workers=1)
    assert table.severity.tolist() == ["ok"], table.findings.tolist()
