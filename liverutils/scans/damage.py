"""Damaged files end in a sentence: whatever a library raises on one becomes BadInput."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from liverutils.errors import BadInput

# No slice and no archive's member that is read whole is larger.
LARGEST_FILE = 1 << 30


@contextmanager
def damage_named(path: Path, advice: str, fault: str) -> Iterator[None]:
    """Around one call of a library: name the file in which it found what it cannot read.

    Libraries raise what occurs to them (zlib.error, struct.error, KeyError, TypeError, …). Never
    put code of ours inside: its faults are no fault of the file.

    Args:
        path: The file.
        advice: What to do, as the end of the sentence.
        fault: Its name in `verify`.
    """
    try:
        yield
    except BadInput:
        raise
    except FileNotFoundError as error:
        raise BadInput(f"{path} does not exist; check the path.", fault="missing") from error
    except Exception as error:
        sentence = f"{path} cannot be read ({reason(error)}); {advice}."
        raise BadInput(sentence, fault=fault) from error


def reason(error: Exception) -> str:
    """Return the first line of an error's text without its full stop; its name if there is none."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".")[:200] if lines else type(error).__name__
