"""The weights that a notebook starts from: the reader's own run's, else the reference's."""

from pathlib import Path

from liverutils.course.repository import resolve
from liverutils.errors import BadInput
from liverutils.models import load_weights
from liverutils.runs import RunLogs

REFERENCE = "logs"


def find_weights(weights: str, logs_dir: str) -> Path:
    """Return the weights file of a run, and print whose it is.

    Args:
        weights: Name of a run, such as "UNet", or a weights file, which is taken as it is.
        logs_dir: Where the reader's own runs are; a run is looked for there first, then among the
            course's reference runs.

    Raises:
        BadInput: no_weights.
    """
    if weights.endswith(".safetensors"):
        return resolve(weights)
    for folder in (logs_dir, REFERENCE):
        path = _weights_of(weights, folder)
        if path.is_file():
            print(f"weights of {_whose(folder)} run {weights}, in {folder}")
            return path
    raise BadInput(
        f"There are no weights of a run {weights!r} in {logs_dir} or {REFERENCE}: train it, name "
        "another run, or give a file that ends in .safetensors.",
        fault="no_weights",
    )


def weights_on(weights: str, logs_dir: str, fingerprint: str) -> Path | None:
    """Return the weights of a run that was made from these very data, and print whose they are.

    Args:
        weights: As for `find_weights`.
        logs_dir: As for `find_weights`.
        fingerprint: Of the data, as in `SliceStore.info`.

    Returns:
        The file; None where there is no such run on these data.
    """
    if weights.endswith(".safetensors"):
        return resolve(weights)
    for folder in (logs_dir, REFERENCE):
        path = _weights_of(weights, folder)
        if path.is_file() and load_weights(path)[1]["data"].get("fingerprint") == fingerprint:
            print(f"weights of {_whose(folder)} run {weights}, in {folder}")
            return path
    return None


def _weights_of(run: str, folder: str) -> Path:
    return RunLogs(resolve(folder), run).weights


def _whose(folder: str) -> str:
    return "the course's" if resolve(folder) == resolve(REFERENCE) else "your"
