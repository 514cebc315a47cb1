"""What only the notebooks need: where they lie, their data, Colab, and checks of exercises.

`python -m liverutils.course.colab` writes the Colab badge and the set-up cell into every notebook.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from liverutils.course.repository import repository_root, repository_url
from liverutils.files import written_aside

BADGE_START = "[![Open in Colab]"


# What a lost session would take along; logs and checkpoints lie in runs/.
KEPT = ("data", "runs")
MOUNT = Path("/content/drive")

SETUP_CELL = """\
import sys
from pathlib import Path

drive = False  # on Colab, True keeps data, logs and checkpoints on your Google Drive

if "google.colab" in sys.modules:  # installs what Colab lacks and touches nothing it has
    %cd -q /content
    !test -d {folder} || git clone --quiet --depth 1 {url}
    if not Path("{folder}").is_dir():
        sys.exit("The course could not be cloned: is the address above right, and public?")
    %cd -q {folder}
    !pip list --format=freeze > /tmp/installed.txt
    !pip install --quiet --constraint /tmp/installed.txt .
    if drive:
        from liverutils.course import keep_on_drive

        keep_on_drive()"""


def colab_badge(notebook: str) -> str:
    """Return the badge that opens `notebook`, a path below notebooks/ such as "22_unet.ipynb"."""
    page = repository_url().replace(
        "https://github.com/", "https://colab.research.google.com/github/"
    )
    picture = "https://colab.research.google.com/assets/colab-badge.svg"
    return f"{BADGE_START}({picture})]({page}/blob/main/notebooks/{notebook})"


def setup_cell() -> str:
    """Return the source of every notebook's set-up cell, which does nothing outside Colab.

    Colab's own torch and numpy stay: whatever is installed is a constraint for pip, which installs
    what is missing or, where that does not fit, fails and says what does not.
    """
    url = repository_url()
    return SETUP_CELL.format(url=url, folder=url.rsplit("/", 1)[1])


def keep_on_drive(mount: Path = MOUNT) -> None:
    """Put the folders of data and runs on Google Drive, where they outlive the session.

    What lies on Drive already is used and never replaced, so a training that died with an earlier
    session goes on at its last finished epoch.

    Args:
        mount: Where Drive is mounted; Colab asks for leave first.
    """
    from google.colab import drive  # There on Colab only.

    drive.mount(str(mount))
    for name in KEPT:
        here, kept = repository_root() / name, mount / "MyDrive" / repository_root().name / name
        kept.mkdir(parents=True, exist_ok=True)
        if here.is_symlink():
            continue
        if here.is_dir():
            shutil.copytree(here, kept, copy_function=_copy_new, dirs_exist_ok=True)
            shutil.rmtree(here)
        here.symlink_to(kept, target_is_directory=True)
        print(f"{name}/ is {kept}")


def _copy_new(source: str, target: str) -> None:
    if not Path(target).exists():
        shutil.copy2(source, target)


def refresh_notebook(path: Path) -> None:
    """Put the badge below the title and the source into the cell tagged `setup`, on disk."""
    notebook = json.loads(path.read_text())
    title, *rest = "".join(notebook["cells"][0]["source"]).splitlines()
    while rest and (not rest[0] or rest[0].startswith(BADGE_START)):
        rest.pop(0)
    name = path.resolve().relative_to(repository_root() / "notebooks").as_posix()
    _set_source(notebook["cells"][0], "\n".join([title, "", colab_badge(name), "", *rest]).strip())
    for cell in notebook["cells"]:
        if "setup" in cell["metadata"].get("tags", []):
            _set_source(cell, setup_cell())
    with written_aside(path) as aside:
        aside.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")


def _set_source(cell: dict[str, Any], source: str) -> None:
    cell["source"] = source.splitlines(keepends=True)


def refresh_all() -> None:
    """Refresh every notebook of the course and its solutions."""
    for path in sorted((repository_root() / "notebooks").rglob("[0-9]*.ipynb")):
        refresh_notebook(path)


if __name__ == "__main__":
    refresh_all()
