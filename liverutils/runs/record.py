"""What a run was and what it came to: the contents of run.json."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from liverutils.errors import BadInput
from liverutils.files import read_json_object


@dataclass(frozen=True)
class RunRecord:
    """What `<run>_run.json` holds. What a run did not log, or others do not, is None or empty.

    Attributes:
        run_name: What the run's files are named after.
        run_id: Tells this run from others of its name; weights and checkpoint have it too.
        model: What `models.build_model` takes to build the network again, weights apart.
        data: What the pictures are: `source`, `fingerprint`, `view`, `size` (pixels a side),
            `intensity` ("HU" or "grey"), `window` (low, high), `context_slices`, `target`, and
            `cropped_to` where scans were cropped.
        split: "train", "valid" and "test" → names of patients.
        training: `learning_rate`, `weight_decay`, `batch_size` (slices), `epochs` or `minutes`,
            `optimizer`, `loss`, `seed`, `augment`, `sampling`, and what some runs have besides.
        settings: `dtype` and `channels_last`, in which the network was computed.
        best_epoch: The one whose weights were kept, counted from 0.
        cost: `parameters`; `gflops`, 10⁹ multiplications and additions for one slice;
            `ms_per_slice`; `images_per_second`, slices in an epoch of training and validation.
        scores: "train", "val" and "test" → column of the logs → score of the kept weights.
        machine: `git_revision`, `python`, `versions`, `device` and `cores`.
        wall_time_s: From the run's start until this was written, in seconds.
        peak_memory_mb: "process" and "gpu" → highest memory in MiB.
        finished: When this was written, UTC, ISO 8601.
        files: Name of each table of the finished run → checksum of its text.
    """

    run_name: str | None = None
    run_id: str | None = None
    model: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    split: dict[str, list[str]] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    best_epoch: int | None = None
    cost: dict[str, float] = field(default_factory=dict)
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    wall_time_s: float | None = None
    peak_memory_mb: dict[str, int] = field(default_factory=dict)
    finished: str | None = None
    files: dict[str, str] | None = None

    @classmethod
    def read(cls, path: Path) -> "RunRecord":
        """Read a run.json, ours, an older one or anyone else's; what is unknown is left out.

        Raises:
            BadInput: broken_log, the file is no JSON object or a part of it is of another kind.
        """
        return cls.of(read_json_object(path, fault="broken_log"), path)

    @classmethod
    def of(cls, parts: Mapping[str, Any], place: Path | str = "The record") -> "RunRecord":
        """Take what is known of a JSON object's parts; `place` names it in the error.

        Raises:
            BadInput: broken_log, a part is of another kind than it has here.
        """
        known: dict[str, Any] = {}
        for part in fields(cls):
            value = parts.get(part.name)
            if value is None:
                continue
            kinds = KINDS.get(part.name, dict)
            wrong = value if not isinstance(value, kinds) else _wrong_inside(part.name, value)
            if wrong is not None:
                raise BadInput(
                    f"{place} holds {wrong!r} as {part.name}: delete it or run the notebook again.",
                    fault="broken_log",
                )
            known[part.name] = value
        return cls(**known)

    @property
    def as_json(self) -> dict[str, Any]:
        """What is known, as JSON can hold it."""
        known = {part.name: getattr(self, part.name) for part in fields(self)}
        nothing = {"files": (None,)}  # A finished run lists its files, be there none.
        return {k: v for k, v in known.items() if v not in nothing.get(k, (None, {}))}

    @property
    def source(self) -> str | None:
        """The data set the run was made from."""
        return self.data.get("source")

    @property
    def fingerprint(self) -> str | None:
        """Fingerprint of the data the run was made from."""
        return self.data.get("fingerprint")

    @property
    def held_out(self) -> frozenset[str] | None:
        """The patients that the split keeps for the test."""
        return frozenset(map(str, self.split["test"])) if "test" in self.split else None


def _wrong_inside(part: str, value: Any) -> Any:
    """Return what of a part is of another kind than its readers count on, or None."""
    if isinstance(value, bool):
        return value
    if part == "scores":
        inner = [_wrong_inside("score", v) if isinstance(v, dict) else v for v in value.values()]
        return next((wrong for wrong in inner if wrong is not None), None)
    kinds = INNER.get(part)
    if kinds is None:
        return None
    # A name such as "source" is text; what else a run says of its data is its own.
    named = {k: v for k, v in value.items() if part != "data" or k in ("source", "fingerprint")}
    return next(({k: v} for k, v in named.items() if not isinstance(v, kinds)), None)


# Of what kind the values in a part are. What is not known is None.
INNER: dict[str, type | tuple[type, ...]] = {
    "score": (int, float, type(None)),
    "cost": (int, float, type(None)),
    "split": list,
    "files": str,
    "data": (str, type(None)),
}


# Of what kind a part is that is no object.
KINDS: dict[str, type | tuple[type, ...]] = {
    "run_name": str,
    "run_id": str,
    "best_epoch": int,
    "wall_time_s": (int, float),
    "finished": str,
}
