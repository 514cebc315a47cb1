"""The README's table of benchmarks says what their files say."""

import shutil
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from liverutils.course.readme import fill
from tests.benchmarks.summary import FIGURES, speed, summarise

REPOSITORY = Path(__file__).parent.parent
PAGE = REPOSITORY / "tests" / "benchmarks" / "README.md"


def test_the_readme_holds_the_figures_of_the_benchmarks(tmp_path):
    copy = tmp_path / "README.md"
    shutil.copy(PAGE, copy)
    fill(copy, "speed", partial(speed, REPOSITORY / "logs" / "bench"))
    assert copy.read_text() == PAGE.read_text(), "run `make readme`"


@pytest.mark.parametrize(
    ("other", "measured", "reached"),
    [("MONAI", "1.45 (0.90 to 2.00) times as fast", "no"), ("it", "1.00 times as fast", "yes")],
)
def test_a_goal_is_reached_where_all_rows_reach_it(tmp_path, other, measured, reached):
    table = pd.DataFrame({"other": ["MONAI", "MONAI", "it"], "ratio": [0.9, 2, 1]})
    table.to_csv(tmp_path / "metrics_speed.csv")
    (figure,) = (
        figure
        for figure in FIGURES
        if figure.file == "metrics_speed" and (figure.against == "MONAI") == (other == "MONAI")
    )
    row = summarise(figure, tmp_path)
    assert (row["measured"], row["goal"], row["reached"]) == (measured, "≥ 1", reached)


def test_a_goal_can_be_a_limit(tmp_path):
    table = pd.DataFrame({"until": ["first batch"] * 2, "ours_over_fastai": [1.1, 1.3]})
    table.to_csv(tmp_path / "import_time.csv")
    (figure,) = (figure for figure in FIGURES if figure.file == "import_time")
    row = summarise(figure, tmp_path)
    assert (row["goal"], row["reached"]) == ("≤ 1.2", "no")
