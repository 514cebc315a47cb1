"""Where the course's repository lies."""

import tomllib
from pathlib import Path

from liverutils.errors import BadInput


def repository_root() -> Path:
    """Return the repository's folder, wherever the notebook was started.

    Raises:
        BadInput: The package was installed away from the repository, and the notebook too was
            started outside.
    """
    for folder in (Path(__file__).parents[2], Path.cwd(), *Path.cwd().parents):
        if (folder / "notebooks" / "solutions").is_dir():
            return folder
    raise BadInput(
        f"{Path.cwd()} is not inside the course's repository: start Jupyter or papermill there.",
        fault="no_repository",
    )


def resolve(path: str | Path) -> Path:
    """Return an absolute path; a relative one is taken from the repository's root."""
    return repository_root() / Path(path).expanduser()


def repository_url() -> str:
    """Return the repository's address, which stands in pyproject.toml alone."""
    project = tomllib.loads((repository_root() / "pyproject.toml").read_text())["project"]
    return project["urls"]["Repository"]
