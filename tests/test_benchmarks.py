"""The table of all benchmarks says what their files say."""

from pathlib import Path

import pandas as pd

from tests.benchmarks.summary import summarise

BENCH = Path(__file__).parent.parent / "logs" / "bench"


def test_the_table_of_benchmarks_is_that_of_their_files():
    now = pd.DataFrame(summarise(BENCH)).round(4)
    assert now.to_csv(index=False) == (BENCH / "summary.csv").read_text(), "run `make bench`"


def test_one_row_below_its_goal_is_not_reached(tmp_path):
    table = pd.DataFrame({"other": ["MONAI", "MONAI", "surface-distance"], "ratio": [0.9, 2, 1]})
    table.to_csv(tmp_path / "metrics_speed.csv")
    distance, monai = summarise(tmp_path)
    assert distance["reached"] and not monai["reached"]
    assert (monai["lowest"], monai["median"], monai["highest"]) == (0.9, 1.45, 2)


def test_a_goal_can_be_a_limit(tmp_path):
    table = pd.DataFrame({"until": ["first batch"] * 2, "ours_over_fastai": [1.1, 1.3]})
    table.to_csv(tmp_path / "import_time.csv")
    (row,) = summarise(tmp_path)
    assert not row["reached"] and row["is_limit"]
