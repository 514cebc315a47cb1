"""The READMEs say what the logs, the catalogue and the commands say."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import papermill
import pytest

from liverutils.course.contents import read_contents
from liverutils.course.model_card import write_card
from liverutils.course.readme import write_logs_readme, write_readme
from liverutils.course.repository import repository_url
from liverutils.runs import choose, read_catalogue

REPOSITORY = Path(__file__).parent.parent
FRONT, LOGS = REPOSITORY / "README.md", REPOSITORY / "logs" / "README.md"
CARD = REPOSITORY / "docs" / "model_card.md"
LONGEST = 9000  # characters of the front page
PAGES = [FRONT, REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


def between(page: Path, name: str) -> str:
    return page.read_text().split(f"<!-- {name} -->")[1].split(f"<!-- /{name} -->")[0]


def test_the_front_page_holds_the_results_of_the_logs(tmp_path):
    copy = tmp_path / "README.md"
    shutil.copy(FRONT, copy)
    write_readme(copy, REPOSITORY / "logs")
    assert copy.read_text() == FRONT.read_text(), "run `make readme`"


def test_the_logs_page_holds_the_results_of_the_logs(tmp_path):
    copy = tmp_path / "README.md"
    shutil.copy(LOGS, copy)
    write_logs_readme(copy, REPOSITORY / "logs", REPOSITORY / "images_gallery")
    assert copy.read_text() == LOGS.read_text(), "run `make readme`"


def test_the_model_card_holds_the_results_of_the_logs(tmp_path):
    copy = tmp_path / "card.md"
    shutil.copy(CARD, copy)
    write_card(copy, REPOSITORY / "logs", CARD.with_name("real_scans.csv"))
    assert copy.read_text() == CARD.read_text(), "run `make readme`"


def test_writing_twice_changes_nothing_and_keeps_the_rest(tmp_path):
    page = tmp_path / "README.md"
    page.write_text("before\n<!-- reached -->\nold\n<!-- /reached -->\nafter\n")
    write_readme(page, REPOSITORY / "logs")
    once = page.read_text()
    assert once.startswith("before\n<!-- reached -->\n")
    assert once.endswith("<!-- /reached -->\nafter\n")
    assert "old" not in once
    write_readme(page, REPOSITORY / "logs")
    assert page.read_text() == once


def test_the_front_page_is_short():
    assert len(FRONT.read_text()) <= LONGEST


def test_every_notebook_stands_on_the_front_page_once_and_in_order():
    linked = re.findall(r"<br>(\w+)\]|\[(\w+)\]\((?:notebooks|logs)/", between(FRONT, "notebooks"))
    listed = [notebook.name for part in read_contents() for notebook in part.notebooks]
    assert ["".join(names) for names in linked] == listed


def test_results_stand_as_taught_with_false_alarms_and_the_majority():
    head, _, *rows = re.findall(r"^\| (.*) \|$", between(FRONT, "reached"), re.M)
    columns = head.split(" | ")
    assert {"accuracy", "majority", "lesions found", "false alarms"} <= set(columns)
    names = [row.split(" | ")[0] for row in rows]
    listed = [notebook.name for part in read_contents() for notebook in part.notebooks]
    assert names == [name for name in listed if name in names] and len(names) >= 17


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_a_page_lead_to_files(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    links = re.findall(r"\]\(([^)\s#]+)[^)\s]*\)", text)
    local = [link for link in links if "://" not in link]
    made = {"faults.md", "gallery.md", "../docs/faults.md"}  # by `make site`
    missing = [link for link in local if not (page.parent / link).exists() and link not in made]
    assert missing == []


def test_variants_are_folded_away_below_the_notebooks_own_runs():
    page = between(LOGS, "results")
    folded = "".join(re.findall(r"<details>.*?</details>", page, re.S))
    shown = re.sub(r"<details>.*?</details>", "", page, flags=re.S)

    def names(text: str) -> set[str]:
        return set(re.findall(r"^\| \[?(\w+)", text, re.M)) - {"run"}

    catalogue = read_catalogue(REPOSITORY / "notebooks" / "runs.yaml", "cpu")
    core = {run.name for run in choose(catalogue, "core")}
    assert names(shown) <= core
    assert names(folded).isdisjoint(core)


def test_the_graph_shows_each_core_run_after_what_it_reads():
    drawn = LOGS.read_text().split("flowchart LR\n")[1].split("```")[0]
    rules = re.findall(r"^  (\w+)(?: --> (.+))?$", drawn, re.M)
    arrows = {rule: set(others.split(" & ")) - {""} for rule, others in rules}
    core = choose(read_catalogue(REPOSITORY / "notebooks" / "runs.yaml", "cpu"), "core")
    assert {run.name for run in core} <= arrows.keys()

    def after(rule: str) -> set[str]:
        return arrows[rule].union(*map(after, arrows[rule]))

    unordered = [(one, run.name) for run in core for one in run.after if run.name not in after(one)]
    assert unordered == []


# --- Commands -----------------------------------------------------------------------------------


def commands(page: Path) -> list[str]:
    """Every command of a page's shell blocks, lines that go on joined, comments left out."""
    blocks = re.findall(r"^```bash\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    text = "\n".join(blocks).replace("\\\n", " ")
    lines = [shlex.join(shlex.split(line, comments=True)) for line in text.splitlines()]
    return [
        part.strip() for line in lines for part in line.replace("'&&'", "&&").split("&&") if part
    ]


@pytest.fixture(scope="module")
def home(tmp_path_factory, smoke_raw) -> Path:
    """A home with two labelled scans and a working copy that sees the repository's files."""
    home = tmp_path_factory.mktemp("home")
    (home / "scans").mkdir()
    for old, new in (("volume-000", "ann"), ("segmentation-000", "ann_mask")):
        shutil.copy(smoke_raw / f"{old}.nii.gz", home / "scans" / f"{new}.nii.gz")
    (home / "copy" / ".venv" / "bin").mkdir(parents=True)
    tools = Path(sys.executable).parent
    (home / "copy" / ".venv" / "bin" / "activate").write_text(f'PATH="{tools}:$PATH"\n')
    for name in ("notebooks", "logs", "liverutils", "Makefile", "pyproject.toml"):
        (home / "copy" / name).symlink_to(REPOSITORY / name)
    return home


def test_commands_of_the_front_page_run_as_written(home):
    """In a fresh shell, all that neither install nor train; the others are tried below."""
    quick = [c for c in commands(FRONT) if c.startswith(("source ", "liverutils "))]
    assert len(quick) >= 4
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        ["bash", "-e", "-c", "\n".join(c.replace("'~/", "~/'") for c in quick)],
        cwd=home / "copy",
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (home / "copy" / "data" / "folder" / "axial-256" / "store.json").is_file()
    assert (home / "copy" / "mask.nii.gz").is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_that_install_or_train_are_sound(page, tmp_path):
    """make without doing, papermill without executing, the command line as far as its arguments."""
    for command in commands(page):
        words = shlex.split(command)
        if words[0] == "git":
            assert words == ["git", "clone", repository_url()]
        elif words[0] == "make":
            subprocess.run([*words, "--dry-run"], cwd=REPOSITORY, check=True, capture_output=True)
        elif words[0] == "papermill":
            given = dict(zip(words[3::3], words[4::3], strict=False))
            values = dict(zip(words[4::3], words[5::3], strict=True))
            assert set(given) == {"-p"}
            declared = papermill.inspect_notebook(str(REPOSITORY / words[1]))
            assert values.keys() <= declared.keys()
        elif words[0] == "liverutils":
            from liverutils.cli import make_parser

            make_parser().parse_args(words[1:] if "--help" not in words else ["verify", "a", "b"])
        elif words[0] == "cd":
            assert words[1] == repository_url().rsplit("/", 1)[1]
        else:
            assert words[0] in ("source", "conda", "jupyter", "pip", "pre-commit", "python"), (
                command
            )


def test_make_alone_prints_help():
    said = subprocess.run(["make"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    targets = ("run", "test", "test-quick", "lab", "site", "handout")
    assert [t for t in targets if not re.search(rf"^  {t} ", said.stdout, re.M)] == []
