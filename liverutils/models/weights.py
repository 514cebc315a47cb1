"""Weights on disk, with the facts needed to use them."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import nn

from liverutils.errors import BadInput
from liverutils.files import written_aside
from liverutils.models.build import build_model


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
    if not path.is_file():
        raise BadInput(f"There are no weights at {path}: check the path or train first.")
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})["facts"])
        tensors = load_file(path)
    except (SafetensorError, KeyError, ValueError) as error:
        raise BadInput(
            f"{path} is not a weights file of this course (safetensors with its facts): it may be "
            "a pickle, cut short or written by another program; save it with "
            "`liverutils.models.save_weights`.",
            fault="bad_weights",
        ) from error
    model = build_model(**facts["model"])
    own = model.state_dict()
    if own.keys() != tensors.keys() or any(own[k].shape != tensors[k].shape for k in own):
        raise BadInput(
            f"The weights in {path} do not fit the network they name, {facts['model']}: take the "
            "file that was saved with it.",
            fault="other_architecture",
        )
    model.load_state_dict({name: t.to(own[name].dtype) for name, t in tensors.items()})
    return model.eval(), facts
