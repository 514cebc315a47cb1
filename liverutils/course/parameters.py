"""The one door for a notebook's parameters: a wrong one ends the run before data are touched."""

import ast
import math
import re
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple, get_args

from liverutils.errors import BadInput
from liverutils.models import ENCODERS, InputRule, input_rule
from liverutils.scans import View
from liverutils.sources import SOURCES
from liverutils.training import choose_device

LITERALS = (str, int, float, list, dict, Path, type(None))

INJECTED = "# Parameters\n"  # how the cell begins that papermill puts behind the parameters' own


class Rule(NamedTuple):
    """What a parameter must be.

    Attributes:
        expected: As a user reads it behind "must be".
        holds: Whether a value is so.
    """

    expected: str
    holds: Callable[[Any], bool]


def _whole(low: int) -> Rule:
    expected = f"a whole number from {low} up"
    return Rule(expected, lambda value: type(value) is int and value >= low)


def _number(expected: str, holds: Callable[[float], bool]) -> Rule:
    def is_right(value: Any) -> bool:
        return type(value) in (int, float) and math.isfinite(value) and holds(value)

    return Rule(expected, is_right)


def _one_of(names: Iterable[Any]) -> Rule:
    names = tuple(names)
    *most, last = map(repr, names)
    return Rule(f"{', '.join(most)} or {last}", lambda value: value in names)


def _text(expected: str, empty: bool = False) -> Rule:
    return Rule(expected, lambda value: isinstance(value, str | Path) and (empty or value != ""))


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"\w[\w.+-]{0,99}", value) is not None


def _is_device(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"auto|cpu|cuda(:\d+)?", value) is not None


COUNT = _whole(1)
COUNT_OR_NONE = _whole(0)
SHARE = _number("a number from 0 to 1", lambda value: 0 <= value <= 1)
FLAG = Rule("True or False", lambda value: type(value) is bool)
FOLDER = _text("the name of a folder")
ANY_TEXT = _text("text, which may be empty", empty=True)
LOSS = _one_of(("dice_cross_entropy", "cross_entropy"))

RULES: dict[str, Rule] = {
    "run_name": Rule(
        "a name of letters, digits, '_', '-', '+' and '.', without folders, such as 'UNet_2'",
        _is_name,
    ),
    "dataset": _one_of(SOURCES),
    "data_dir": _text("the folder or archive of the data"),
    "logs_dir": FOLDER,
    "gallery_dir": FOLDER,
    "out_dir": FOLDER,
    "plan_file": ANY_TEXT,
    "gigabytes": _number("a number of gigabytes above 0", lambda value: value > 0),
    "reference_dir": ANY_TEXT,
    "tensorboard_dir": ANY_TEXT,
    "target": _one_of(SOURCES),
    "calibration": _one_of(SOURCES),
    "clinics": _one_of(SOURCES),
    "target_dir": _text("the folder or archive of the data"),
    "augmentation": _one_of(("plain", "transfer")),
    "view": _one_of(get_args(View)),
    "init": _one_of(("default", "normal")),
    "loss": LOSS,
    "baseline_loss": LOSS,
    "sampling": _one_of(("natural", "balanced")),
    "class_weights": _one_of(("none", "balanced")),
    "network": _one_of(("ResNet34", "ResNet34_plain")),
    "encoder": _one_of(("ResNet18", "ResNet34", "ResNet50", "ResNet152")),
    "output_stride": _one_of((8, 16)),
    "rates": Rule(
        "a list of three whole numbers from 1 up, such as [3, 6, 9]",
        lambda value: isinstance(value, list) and len(value) == 3 and all(map(COUNT.holds, value)),
    ),
    "device": Rule("'auto', 'cpu', 'cuda' or 'cuda:0'", _is_device),
    "pretrained": FLAG,
    "resume": FLAG,
    "fraction": _number("a number above 0, up to 1", lambda value: 0 < value <= 1),
    "alpha": _number("a number between 0 and 1", lambda value: 0 < value < 1),
    "lesion_share": _number("a number from 0 to 0.5", lambda value: 0 <= value <= 0.5),
    "lr": _number("a number above 0, such as 0.001", lambda value: value > 0),
    "encoder_lr": _number("a number above 0, such as 0.0001", lambda value: value > 0),
    "minutes": _number("a number of minutes, or 0", lambda value: value >= 0),
    "outline_mm": _number("a number of millimetres from 0 up", lambda value: value >= 0),
    "apart_mm": _number("a number of millimetres above 0", lambda value: value > 0),
    "margin_mm": _number("a number of millimetres from 0 up", lambda value: value >= 0),
    "tumor_weight": SHARE,
    "mishap_share": SHARE,
    "flip": SHARE,
    "dropout": _number("a number from 0 to below 1", lambda value: 0 <= value < 1),
    "repeats": _whole(2),
    "patient": Rule("the name or number of a patient", lambda value: type(value) in (str, int)),
    "scan": ANY_TEXT,
    "weights": _text("the name of a run or a weights file"),
    "liver_weights": ANY_TEXT,
    "tumor_weights": ANY_TEXT,
    "baseline": _text("the name of a run"),
}
COUNTS = (
    "image_size",
    "small_size",
    "curve_size",
    "epochs",
    "liver_epochs",
    "comparison_epochs",
    "batch_size",
    "width",
    "hidden",
    "head_width",
    "comparison_width",
    "race_steps",
    "curve_steps",
    "comparison_seeds",
    "patience",
    "every",
    "max_patients",
    "pairs",
    "patients",
    "slices",
    "tests",
    "voxels",
)


COUNTS_OR_NONE = (
    "context_slices",
    "other_context",
    "patch_size",
    "frozen_epochs",
    "plateau",
    "seed",
    "split_seed",
    "target_scans",
)


RULES |= dict.fromkeys(COUNTS, COUNT) | dict.fromkeys(COUNTS_OR_NONE, COUNT_OR_NONE)


def check_parameters(names: MutableMapping[str, Any], network: str = "") -> None:
    """Refuse parameters with which a notebook cannot run.

    Text that papermill passes for a truth value, "false", becomes that value.

    Args:
        names: The notebook's `globals()`.
        network: The network that is to be trained, if any, as in `models.MODELS`.

    Raises:
        BadInput: unknown_parameter, where papermill was given a name that the notebook does not
            declare; bad_parameter, with what the parameter must be.
    """
    history = names.get("In", [])
    _check_known(history)
    # Where cells run without a history, as under nbval, all that holds a literal is looked at.
    literals = {name for name, value in names.items() if isinstance(value, LITERALS)}
    declared = {name for cell in history for name in _settings(cell)} or literals
    given = {name: names[name] for name in RULES if name in declared}
    for name, value in given.items():
        if RULES[name] is FLAG and str(value).lower() in ("true", "false"):
            names[name] = value = str(value).lower() == "true"
        if not RULES[name].holds(value):
            raise _bad(name, value, RULES[name].expected)
    if "device" in given:
        choose_device(given["device"])
    if network:
        _check_input(given, input_rule(network, given.get("output_stride", 16)), network)


def _check_known(history: list[str]) -> None:
    """Refuse what papermill's cell sets and no cell before it does."""
    cells = [number for number, cell in enumerate(history) if cell.startswith(INJECTED)]
    if not cells:
        return
    declared = list(dict.fromkeys(name for cell in history[: cells[0]] for name in _settings(cell)))
    for name in _settings(history[cells[-1]]):
        if name not in declared:
            close = get_close_matches(name, declared, n=1)
            meant = f"did you mean {close[0]}? It" if close else "it"
            raise BadInput(
                f"There is no parameter {name!r} in this notebook; {meant} declares "
                f"{', '.join(declared)}.",
                fault="unknown_parameter",
            )


def _settings(cell: str) -> list[str]:
    """The names that a cell sets, if it computes nothing, as a parameters cell does not."""
    try:
        statements = ast.parse(cell).body
    except SyntaxError:  # A cell that somebody tried, and that failed.
        return []
    computes = any(isinstance(node, ast.Call) for s in statements for node in ast.walk(s))
    if computes or not all(isinstance(statement, ast.Assign) for statement in statements):
        return []
    targets = [t for s in statements if isinstance(s, ast.Assign) for t in s.targets]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _check_input(given: Mapping[str, Any], rule: InputRule, network: str) -> None:
    sizes = {
        name: given[name] for name in ("image_size", "small_size", "curve_size") if name in given
    }
    if given.get("patch_size"):
        sizes["patch_size"] = given["patch_size"]
    for name, size in sizes.items():
        if size < rule.at_least or size % rule.multiple:
            raise _bad(name, size, f"{_right_sizes(size, rule)}, for {network}")
    if sizes.get("patch_size", 0) > sizes["image_size"]:
        raise _bad("patch_size", sizes["patch_size"], f"at most image_size, {given['image_size']}")
    if given["batch_size"] < rule.batch_size:
        raise _bad("batch_size", given["batch_size"], f"at least {rule.batch_size}, for {network}")
    if network in ENCODERS and given.get("pretrained") and given.get("init") == "normal":
        raise _bad("init", "normal", "'default' with pretrained=True, or it overwrites the weights")


def _right_sizes(size: int, rule: InputRule) -> str:
    if rule.multiple == 1:
        return f"at least {rule.at_least}"
    below = max(size // rule.multiple * rule.multiple, rule.at_least)
    return f"a multiple of {rule.multiple}, such as {below} or {below + rule.multiple}"


def _bad(name: str, value: Any, expected: str) -> BadInput:
    kind = {str: "text", float: "a decimal number", bool: "a truth value", type(None): "nothing"}
    said = f" ({kind[type(value)]})" if type(value) in kind and value != "" else ""
    return BadInput(f"{name} is {value!r}{said}: it must be {expected}.", fault="bad_parameter")
