"""The table of all benchmarks says what their files say."""

import shutil
from pathlib import Path

import pandas as pd

from tests.benchmarks.summary import FIGURES, summarise

BENCH = Path(__file__).parent.parent / "logs" / "bench"


def test_the_table_of_benchmarks_is_that_of_their_files():
    now = pd.DataFrame(summarise(BENCH)).round(4)
    pd.testing.assert_frame_equal(now, pd.read_csv(BENCH / "summary.csv"), check_dtype=False)
    assert set(now.benchmark) == {figure.file for figure in FIGURES}


def test_one_row_below_its_goal_is_not_reached(tmp_path):
    for path in BENCH.glob("*.csv"):
        shutil.copy(path, tmp_path)
    table = pd.read_csv(tmp_path / "metrics_speed.csv")
    table.loc[table.other == "MONAI", "ratio"] = [0.9, 2]
    table.to_csv(tmp_path / "metrics_speed.csv")
    rows = {(row["what"], row["against"]): row for row in summarise(tmp_path)}
    assert not rows["all volume metrics", "MONAI"]["reached"]
    assert rows["all volume metrics", "MONAI"]["lowest"] == 0.9
