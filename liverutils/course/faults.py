"""Every fault that a user can meet, read from the source: its name and what is said of it."""

import ast
from dataclasses import dataclass
from pathlib import Path

from liverutils.course.repository import repository_root
from liverutils.scans.verify import FAULTS


@dataclass(frozen=True)
class Fault:
    """A fault's name, how grave it is, what it means, and the sentences users read.

    Attributes:
        name: As `liverutils verify` lists it, such as "missing_slices".
        severity: "error" stops; "warning" does not.
        meaning: One line for all places; empty where the sentences say it all.
        sentences: What is said, place by place; `‹…›` stands for what differs from case to case.
        modules: Where in the package it is found, such as "scans.dicom".
    """

    name: str
    severity: str
    meaning: str
    sentences: tuple[str, ...]
    modules: tuple[str, ...]


def read_faults() -> list[Fault]:
    """Return every fault that the package names, in the order of the alphabet."""
    raised: dict[str, dict[str, list[str]]] = {name: {} for name in FAULTS}
    package = repository_root() / "liverutils"
    for path in sorted(package.rglob("*.py")):
        module = ".".join(path.relative_to(package).with_suffix("").parts)
        for name, sentence in _raised_in(path):
            raised.setdefault(name, {}).setdefault(module, []).append(sentence)
    return [
        Fault(
            name,
            *FAULTS.get(name, ("error", "")),
            sentences=tuple(dict.fromkeys(text for texts in places.values() for text in texts)),
            modules=tuple(places) or ("scans.verify",),
        )
        for name, places in sorted(raised.items())
    ]


def _raised_in(path: Path) -> list[tuple[str, str]]:
    """Fault and sentence of every `BadInput(...)` in a module."""
    calls = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "BadInput"
    ]
    return [found for call in calls for found in _fault_of(call)]


def _fault_of(call: ast.Call) -> list[tuple[str, str]]:
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    arguments = dict(zip(("sentence", "fault"), call.args, strict=False)) | given
    name = arguments.get("fault", ast.Constant("bad_input"))
    if not isinstance(name, ast.Constant):  # Passed on: it stands where it was found.
        return []
    return [(str(name.value), _text(arguments["sentence"]))]


def _text(node: ast.expr) -> str:
    """A sentence as it stands in the source; what is filled in later becomes `‹name›`."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_text, node.values))
    if isinstance(node, ast.BinOp):
        return _text(node.left) + _text(node.right)
    value = node.value if isinstance(node, ast.FormattedValue) else node
    last = value.attr if isinstance(value, ast.Attribute) else getattr(value, "id", "…")
    return f"‹{last.replace('_', ' ')}›"
