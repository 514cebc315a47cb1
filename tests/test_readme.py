"""The README says what the logs and the catalogue say."""

import re
import shutil
from pathlib import Path

from liverutils.course.readme import write_readme
from liverutils.runs import choose, read_catalogue

REPOSITORY = Path(__file__).parent.parent


def test_the_readme_holds_the_results_of_the_logs(tmp_path):
    copy = tmp_path / "README.md"
    shutil.copy(REPOSITORY / "README.md", copy)
    write_readme(copy, REPOSITORY / "logs", REPOSITORY / "images_gallery")
    assert copy.read_text() == (REPOSITORY / "README.md").read_text(), "run `make readme`"


def test_writing_twice_changes_nothing_and_keeps_the_rest(tmp_path):
    page = tmp_path / "README.md"
    page.write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter\n")
    write_readme(page, REPOSITORY / "logs", REPOSITORY / "images_gallery")
    once = page.read_text()
    assert once.startswith("before\n<!-- results -->\n") and once.endswith(
        "<!-- /results -->\nafter\n"
    )
    assert "old" not in once
    write_readme(page, REPOSITORY / "logs", REPOSITORY / "images_gallery")
    assert page.read_text() == once


def test_variants_are_folded_away_below_the_notebooks_own_runs():
    page = (REPOSITORY / "README.md").read_text()
    page = page.split("<!-- results -->")[1].split("<!-- /results -->")[0]
    folded = "".join(re.findall(r"<details>.*?</details>", page, re.S))
    shown = re.sub(r"<details>.*?</details>", "", page, flags=re.S)

    def names(text: str) -> set[str]:
        return set(re.findall(r"^\| \[?(\w+)", text, re.M)) - {"run"}

    catalogue = read_catalogue(REPOSITORY / "notebooks" / "runs.yaml", "cpu")
    core = {run.name for run in choose(catalogue, "core")}
    study = {run.name for run in choose(catalogue, "study") if "run_name" in run.declared}
    assert names(shown) <= core
    assert names(folded).isdisjoint(core)
    assert study <= names(folded)


def test_the_graph_shows_each_core_run_after_what_it_reads():
    drawn = (REPOSITORY / "README.md").read_text().split("flowchart LR\n")[1].split("```")[0]
    rules = re.findall(r"^  (\w+)(?: --> (.+))?$", drawn, re.M)
    arrows = {rule: set(others.split(" & ")) - {""} for rule, others in rules}
    core = choose(read_catalogue(REPOSITORY / "notebooks" / "runs.yaml", "cpu"), "core")
    assert arrows.keys() == {"phantom", "store"} | {run.name for run in core}

    def after(rule: str) -> set[str]:
        return arrows[rule].union(*map(after, arrows[rule]))

    unordered = [(one, run.name) for run in core for one in run.after if run.name not in after(one)]
    assert unordered == []
    assert after("phantom") == arrows.keys() - {"phantom", "03_metrics"}  # That reads no scans.
