"""Weights on disk, with the facts needed to use them."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from liverutils.errors import BadInput
from liverutils.files import written_aside
from liverutils.models.build import build_model

LARGEST_SIZE = 1 << 13  # of any number in a network's recipe; VGG's 4096 is the largest we use


def save_weights(
    model: nn.Module, path: Path | str, facts: dict[str, Any], half: bool = False
) -> None:
    """Write a network's weights as safetensors, with the facts needed to use them.

    Args:
        model: The network, from `build_model`.
        path: Ends in .safetensors; written aside and renamed.
        facts: Kept as JSON beside the recipe of the network.
        half: Store floating-point weights in half precision.
    """
    tensors = {
        name: (t.half() if half and t.is_floating_point() else t).detach().cpu().contiguous()
        for name, t in model.state_dict().items()
    }
    facts = facts | {"model": model.recipe}
    content = save(tensors, metadata={"facts": json.dumps(facts)})
    with written_aside(path) as aside:  # save_file leaves a file of its own when it is killed
        aside.write_bytes(content)


def load_weights(path: Path | str) -> tuple[nn.Module, dict[str, Any]]:
    """Build the network that `save_weights` wrote to `path`; return it and its facts.

    Nothing is unpickled.

    Raises:
        BadInput: No such file, not safetensors (a pickle, a truncated file), written by another
            program, or weights that do not fit the network that the file names.
    """
    path = Path(path)
    facts = read_weight_facts(path)
    recipe = facts["model"]
    tensors = load_file(path)
    with torch.device("meta"):  # Whether the weights fit is known before any memory is taken.
        model = _build(path, recipe)
    if _shapes(model.state_dict()) != _shapes(tensors):
        raise BadInput(
            f"The weights in {path} do not fit the network they name, {recipe}: take the file that "
            "was saved with it.",
            fault="other_architecture",
        )
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise BadInput(
                f"The weights in {path} hold numbers that are not finite (in {name}), so nothing "
                "can be predicted with them: train again, with a lower learning rate.",
                fault="bad_weights",
            )
    if any(tensor.is_meta for tensor in model.state_dict().values()):
        model = _build(path, recipe)
    own = model.state_dict()
    model.load_state_dict({name: t.to(own[name].dtype) for name, t in tensors.items()})
    return model.eval(), facts


def read_weight_facts(path: Path | str) -> dict[str, Any]:
    """Read the facts of a weights file alone: the network's recipe is `facts["model"]`.

    Raises:
        BadInput: As `load_weights`.
    """
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"There are no weights at {path}: check the path or train first.")
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})["facts"])
        recipe = facts["model"]
        is_recipe = isinstance(recipe, dict) and isinstance(recipe.get("name"), str)
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise _not_ours(path) from error
    if not is_recipe or "pretrained" in recipe:  # A file's weights are its own, never downloaded.
        raise _not_ours(path)
    return facts


def _shapes(tensors: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}


def _not_ours(path: Path) -> BadInput:
    return BadInput(
        f"{path} is not a weights file of this course (safetensors with its facts): it may be a "
        "pickle, cut short or written by another program; save it with "
        "`liverutils.models.save_weights`.",
        fault="bad_weights",
    )


def _build(path: Path, recipe: dict[str, Any]) -> nn.Module:
    values = [
        v for value in recipe.values() for v in (value if isinstance(value, list) else [value])
    ]
    sizes = [value for value in values if not isinstance(value, str | bool | type(None))]
    if not all(isinstance(size, int | float) and 0 <= size <= LARGEST_SIZE for size in sizes):
        raise _not_ours(path)
    try:
        return build_model(**recipe)
    except (TypeError, ValueError, RuntimeError, ZeroDivisionError, OverflowError) as error:
        raise _not_ours(path) from error
