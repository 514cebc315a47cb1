"""The README says what the logs say."""

import shutil
from pathlib import Path

from liverutils.readme import write_readme

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
