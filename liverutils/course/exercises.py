"""Checks of exercises."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def check(
    answer: Any,
    expected: Any,
    *,
    tolerance: float | None = None,
    why: str = "",
    hint: str = "",
    mistakes: Mapping[str, Any] | None = None,
) -> None:
    """Print whether an exercise's answer is right, and why or why not.

    Args:
        answer: A number, an array, a text or a set, for which any list or text of its members will
            do. `...` or None, also inside a tuple or list, is
            not answered yet, so that a notebook nobody has answered still runs through.
        expected: The right answer.
        tolerance: Relative; for numbers and arrays. By default a hundredth, and nothing where the
            right answer is a whole number.
        why: The reason, told with a right answer.
        hint: Told with a wrong answer that is none of `mistakes`.
        mistakes: What went wrong, as a sentence → the wrong answer it leads to.
    """
    parts = answer if isinstance(answer, tuple | list) else [answer]
    if any(part is None or part is ... for part in parts):
        print("Not answered yet. Put your answer in the place of the dots, and run both cells.")
    elif _agree(answer, expected, tolerance):
        print(f"Right! {why}")
    else:
        known = (s for s, wrong in (mistakes or {}).items() if _agree(answer, wrong, tolerance))
        print(f"Wrong: {next(known, None) or f'{_describe_difference(answer, expected)} {hint}'}")


def _agree(answer: Any, expected: Any, tolerance: float | None) -> bool:
    if isinstance(expected, str):
        return str(answer).strip().casefold() == expected.casefold()
    if isinstance(expected, list | tuple) and any(isinstance(part, str) for part in expected):
        parts = answer if isinstance(answer, list | tuple) else [answer]
        return len(parts) == len(expected) and all(
            _agree(part, right, tolerance) for part, right in zip(parts, expected, strict=True)
        )
    if isinstance(expected, set):
        return isinstance(answer, set | list | tuple | str) and set(answer) == expected
    if not _is_numeric(expected):
        return bool(answer == expected)
    if tolerance is None:
        tolerance = 0.01 if np.asarray(expected).dtype.kind == "f" else 0.0
    return (
        _is_numeric(answer)
        and np.shape(answer) == np.shape(expected)
        and np.allclose(answer, expected, rtol=tolerance, atol=1e-12, equal_nan=True)
    )


def _is_numeric(value: Any) -> bool:
    return not isinstance(value, set) and np.asarray(value).dtype.kind in "biuf"


def _describe_difference(answer: Any, expected: Any) -> str:
    """Say how an answer is wrong without giving the right one away."""
    if not _is_numeric(expected) or isinstance(expected, bool | np.bool_):
        return f"{answer!r} is not it."
    if not _is_numeric(answer):
        return f"{answer!r} is a {type(answer).__name__}, a number or array is expected."
    if np.shape(answer) != np.shape(expected):
        return f"the shape is {np.shape(answer)}, {np.shape(expected)} is expected."
    if np.shape(expected):
        share = np.mean(~np.isclose(answer, expected, equal_nan=True))
        return f"{share:.1%} of the elements differ."
    if np.isnan(answer):
        return "nan is not a number."
    return f"{answer:.4g} is too {'large' if answer > expected else 'small'}."
