"""What preparing a large scan needs, measured in a process of its own."""

import sys

import pytest

from tests.benchmarks.store_build import measure_memory


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_prepare_holds_a_scan_a_few_times():
    measured = measure_memory(slices=200)
    grown = measured["peak_mb"] - measured["imports_mb"]
    assert grown > measured["volume_mb"], "or nothing was measured"
    assert grown < 3 * measured["volume_mb"]
