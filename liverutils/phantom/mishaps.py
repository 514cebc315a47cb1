"""What goes wrong between a patient and an archive: scans as a network should not meet them.

Each changes what the scan shows; where the patient lies otherwise, the labels move along. What is
wrong with a file itself, `scans.verify` finds; these pass for good scans.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy import ndimage

from liverutils.scans import LOWEST_HU, Case


def _mirrored(case: Case, rng: np.random.Generator) -> Case:
    """Left and right exchanged: a header that was read wrongly."""
    mask = None if case.mask is None else case.mask[::-1]
    return replace(case, image=case.image[::-1], mask=mask)


def _prone(case: Case, rng: np.random.Generator) -> Case:
    """The patient lies on the belly, and nobody said so: turned by 180 degrees in the slice."""
    mask = None if case.mask is None else case.mask[::-1, ::-1]
    return replace(case, image=case.image[::-1, ::-1], mask=mask)


def _low_dose(case: Case, rng: np.random.Generator) -> Case:
    """Noise of 40 to 150 HU, a little blurred as a kernel blurs it."""
    noise = ndimage.gaussian_filter(
        rng.standard_normal(case.image.shape, np.float32), (0.6, 0.6, 0)
    )
    return _with_hu(case, case.image + noise * (rng.uniform(40, 150) / noise.std()))


def _unenhanced(case: Case, rng: np.random.Generator) -> Case:
    """The contrast medium failed: soft tissue comes down to 30 to 55 HU, with little difference."""
    level, share = rng.uniform(30, 55), rng.uniform(0.15, 0.5)
    soft = np.clip(case.image, 20, 260)
    return _with_hu(case, case.image - soft + level + share * (soft - 105))


MISHAPS: dict[str, Callable[[Case, np.random.Generator], Case]] = {
    "mirrored": _mirrored,
    "prone": _prone,
    "low dose": _low_dose,
    "unenhanced": _unenhanced,
}


def spoil(case: Case, share: float = 0.5, seed: int = 0) -> tuple[Case, str]:
    """Let a mishap come over a share of scans, each with the same chance.

    Args:
        case: The scan, in HU.
        share: Of the scans that something happens to.
        seed: The same seed and volume give the same mishap.

    Returns:
        The scan and the name of the mishap, "" where there is none.
    """
    rng = np.random.default_rng([seed, *case.volume.encode()])
    if rng.random() >= share:
        return case, ""
    mishap = str(rng.choice(list(MISHAPS)))
    return MISHAPS[mishap](case, rng), mishap


def _with_hu(case: Case, values: np.ndarray) -> Case:
    limits = np.iinfo(np.int16)
    return replace(case, image=np.rint(np.clip(values, LOWEST_HU, limits.max)).astype(np.int16))
