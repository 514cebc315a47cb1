"""Are these HU? Told from the values alone, by where air, fat and soft tissue lie."""

import numpy as np
from scipy import ndimage, signal

from liverutils.scans.case import LOWEST_HU
from liverutils.scans.thinned import share_between, solid, thinned

# HU of fat, muscle and organs with contrast.
SOFT_TISSUE_HU = (-150, 300)


# Between air or lung, and fat.
BODY_HU = -400


# Below this there is air, or padding.
AIR_HU = -850


# Where the hill of fat may lie in HU; that of halved and doubled HU lies beyond.
FAT_HU = (-145, -70)
HILL_BIN_HU = 4


# A CT of a body spans 2000 HU from air to bone; [0, 1], z-scores and percent span less than this.
NARROW_RANGE = 101


# Share of dense tissue that must survive erosion: a body does, the bones of a skull do not.
SOLID_SHARE = 0.25


# Share of a body that is soft tissue; 0.96 to 0.98 in the abdomen, 0.77 in a head.
SOFT_TISSUE_SHARE = 0.4


def scale_fault(image: np.ndarray) -> tuple[str, str] | None:
    """Name what is wrong with the scale of a volume that should be in HU.

    Args:
        image: int16 (X, Y, Z); what lies below -1024 counts as padding.

    Returns:
        The fault's name, as `scans.verify` explains it, and what shows it; None for HU.
    """
    image = np.maximum(thinned(image).astype(np.int32), LOWEST_HU)
    low, high = int(image.min()), int(image.max())
    span = f"all values lie between {low} and {high}"
    if low == high:
        return "no_soft_tissue", f"every voxel is {low}"
    if high - low < NARROW_RANGE:
        return "normalised", span
    if low >= 0 and high <= 255:
        return "eight_bit", span
    for judge in (
        _inverted,
        _divided,
        _multiplied,
        _not_rescaled,
        _without_negatives,
    ):
        if found := judge(image, low):
            return found
    body = solid(image > BODY_HU)
    if not body.any():
        return _twice_rescaled(image) or ("no_soft_tissue", "nothing solid lies above -400")
    if found := _material_map(image, low, body):
        return found
    if low >= -128 and high <= 127:
        return "eight_bit", span
    share = share_between(image[body], *SOFT_TISSUE_HU)
    if share < SOFT_TISSUE_SHARE:
        detail = f"{share:.0%} of what is denser than air lies between -150 and 300 HU"
        return _twice_rescaled(image) or ("no_soft_tissue", detail)
    return None


def lacks_air(image: np.ndarray) -> str | None:
    """Say where no voxel is air: a crop of the body, or HU that were clipped to a window."""
    image = thinned(image)
    if image.min() <= AIR_HU:
        return None
    return f"the lowest value is {image.min()}, the highest {image.max()}"


def _divided(image: np.ndarray, low: int) -> tuple[str, str] | None:
    """HU divided by 10, say: air, fat and soft tissue as far apart as ever, but in proportion.

    A window of HU is told by its soft tissue, which lies further up.
    """
    if not -420 <= low <= -20:
        return None
    tissue = image[image > low / 2]
    middle, upper = (float(value) for value in np.percentile(tissue, (50, 95)))
    if middle > -0.15 * low or upper > -0.25 * low:
        return None
    return "scaled_hu", f"air lies at {low} and soft tissue at {middle:.0f}"


def _multiplied(image: np.ndarray, low: int) -> tuple[str, str] | None:
    """HU halved or doubled, say: fat and soft tissue are two hills, at -100 and 50 in HU."""
    inside = image[(image > max(low, -500) + 8) & (image < min(int(image.max()), 500) - 8)]
    counts, edges = np.histogram(inside, bins=np.arange(-500, 501, HILL_BIN_HU))
    smooth = ndimage.gaussian_filter1d(counts.astype(float), 2.5)
    hills, shape = signal.find_peaks(smooth, prominence=0.1 * smooth.max())
    centres, heights = edges[hills] + HILL_BIN_HU / 2, shape["prominences"]
    fats, softs = ((centres > -350) & (centres < -15), (centres > 15) & (centres < 400))
    if not fats.any() or not softs.any():
        return None
    fat, soft = (float(centres[kind][heights[kind].argmax()]) for kind in (fats, softs))
    is_halved = fat > FAT_HU[1] and soft < 80 and low > AIR_HU
    is_doubled = fat < FAT_HU[0] and soft > 70
    if not (is_halved or is_doubled):
        return None
    return "scaled_hu", f"fat lies at {fat:.0f} and soft tissue at {soft:.0f}"


def _inverted(image: np.ndarray, low: int) -> tuple[str, str] | None:
    """Air bright, as on the pictures of a radiograph: HU times -1."""
    edges = np.concatenate([image[[0, -1]].ravel(), image[:, [0, -1]].ravel()])
    around = float(np.median(edges))
    if around < max(500, (low + int(image.max())) / 2) or np.mean(image < AIR_HU) > 0.01:
        return None
    return "not_hu", f"around the body lies {around:.0f}, brighter than bone: they are inverted"


def _not_rescaled(image: np.ndarray, low: int) -> tuple[str, str] | None:
    """HU + 1024 (or 1000), perhaps with padding below that was left as it was."""
    rest = image[image > low]
    floor, top = np.percentile(rest, (0.5, 99.5))
    if floor < -200:
        return None
    dense = image > floor + 0.35 * (top - floor)
    body = solid(dense)
    if body.sum() < SOLID_SHARE * dense.sum():
        return None
    middle = float(np.median(image[body]))
    in_hu = image[body] + LOWEST_HU
    if not 850 <= middle <= 1300 or share_between(in_hu, *SOFT_TISSUE_HU) < 0.85:
        return None
    return "not_rescaled", f"soft tissue lies at {middle:.0f} and air at {floor:.0f}"


def _without_negatives(image: np.ndarray, low: int) -> tuple[str, str] | None:
    floor, middle, top = np.percentile(image[image > low], (0.5, 50, 99.5))
    # Air and fat are below 0 in HU; a few voxels just below it are what interpolation leaves. Where
    # there is padding, a head of one density would have no fat either, but it has bone.
    if low >= 0 or (floor > -30 and (low > AIR_HU or top - floor < 150)):
        return "not_hu", f"no tissue is below 0, half lies below {middle:.0f}, 99 % below {top:.0f}"
    return None


def _material_map(image: np.ndarray, low: int, body: np.ndarray) -> tuple[str, str] | None:
    """A map of iodine or another material: no air but the padding, no fat, nearly all at 0."""
    if np.percentile(image[image > low], 0.5) < -200:
        return None
    at_zero, fat = share_between(image[body], -25, 25), share_between(image[body], -150, -40)
    if at_zero < 0.6 or fat > 0.01:
        return None
    return "not_hu", f"{at_zero:.0%} of the body lies between -25 and 25 and nothing is fat"


def _twice_rescaled(image: np.ndarray) -> tuple[str, str] | None:
    """HU - 1024: what is softer than water was clipped, and soft tissue lies just above."""
    lowest = image == LOWEST_HU
    body = solid(image > LOWEST_HU + 4)
    if lowest.mean() < 0.3 or not body.any():
        return None
    middle = float(np.median(image[body]))
    if not LOWEST_HU + 10 <= middle <= LOWEST_HU + 300:
        return None
    return "twice_rescaled", f"soft tissue lies at {middle:.0f}"
