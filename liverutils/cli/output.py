"""What commands print: columns, folded sentences, JSON."""

import json
import math
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

NARROWEST = 20  # characters, for a column of folded text


def print_rows(rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns that are as wide as they must be.

    On a terminal the last column is folded, so that long texts stay in it.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    indent = sum(widths[:-1]) + 2 * len(widths[:-1])
    room = shutil.get_terminal_size().columns - indent
    for row in rows:
        line = "  ".join(map(str.ljust, row, widths)).rstrip()
        if sys.stdout.isatty() and len(line) > indent + room >= indent + NARROWEST:
            first, *more = textwrap.wrap(row[-1], room)
            line = "\n".join([line[:indent] + first, *(" " * indent + text for text in more)])
        print(line)


def print_sentences(sentences: Iterable[str]) -> None:
    """Print sentences one below the other, folded at the width of the terminal."""
    fold = textwrap.TextWrapper(
        shutil.get_terminal_size().columns,
        initial_indent="- ",
        subsequent_indent="  ",
        # Paths stay whole.
        break_long_words=False,
        break_on_hyphens=False,
    )
    for sentence in sentences:
        print(fold.fill(sentence))


def warn(sentence: str) -> None:
    """Say on standard error what went wrong with a part of the work."""
    print(f"liverutils: {sentence}", file=sys.stderr)


def print_json(document: Any) -> None:
    """Print a JSON document; NaN becomes null and an infinite number the text "inf" or "-inf"."""
    print(json.dumps(_plain(document), indent=2, ensure_ascii=False, allow_nan=False))


def _plain(value: Any) -> Any:
    if hasattr(value, "item"):  # A number of NumPy.
        value = value.item()
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return str(value) if isinstance(value, Path) else value
