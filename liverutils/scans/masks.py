"""Labels compared with their picture as a whole: are they a liver's, this scan's, in place?"""

import itertools

import numpy as np
from scipy import fft, ndimage

from liverutils.scans.case import LIVER, TUMOR, Case
from liverutils.scans.hounsfield import BODY_HU
from liverutils.scans.thinned import WITHIN_SLICES, thin_steps, thinned

# The liver with and without contrast, from severe steatosis to the arterial phase.
LIVER_HU = (-50, 250)


# Tissue is like the liver's within so many HU of its commonest value, or twice the noise.
LIKE_HU = 40


# From a preterm infant's liver to one full of cysts, in ml; and of a body's solid part in a scan.
LIVER_ML = (40.0, 8000.0)
LIVER_SHARE = (0.002, 0.45)


# Share of the mask on liver-like tissue that a shift must win. On 3D-IRCADb-01.17 and the phantom
# the true position is best, and 2 slices off lose 0.02 (1.6 mm slices) to 0.12 (5 mm).
SHIFT_MARGIN = {"slices": 0.02, "else": 0.03}
LARGEST_SHIFT_MM = 40.0


# The same for a flip or an exchange of axes, which loses 0.2 and more; and what it must reach.
FLIP_MARGIN, GOOD_SHARE = 0.1, 0.55


# How much more of the mask's rim than of what lies just outside is like the liver: 0.6 to 0.8 in
# right masks, 0.3 in swollen ones, 0.4 at most for another patient's at its best position.
RIGHT_BORDER, LOOSE_BORDER, NO_BORDER = 0.45, 0.3, 0.1


# Around a liver a third of the tissue is of one kind; around a tumour in it, most.
INSIDE_ORGAN_SHARE = 0.55


# What ends of a liver are called, by axis; the last plane of one tapers to a tenth of the largest,
# or with slices of 10 mm to a quarter.
ENDS = (("leftmost", "rightmost"), ("hindmost", "foremost"), ("lowest", "highest"))
CUT_SHARE = 0.45


BALL = ndimage.generate_binary_structure(3, 1)


def label_faults(case: Case) -> dict[str, str]:
    """Return what is wrong with the labels of a case: names of faults, and what shows each.

    What the labels are is judged first; where they lie only if they may be a liver's, and only in
    HU: PNG slices that were each stretched to their own range have no tissue of one grey.
    """
    if case.mask is None:
        return {"no_labels": "no mask was found"}
    if not case.mask.any():
        return {"empty_mask": "0 voxels"}
    for fault, check in WHAT_IT_IS.items():
        if detail := check(case):
            return {fault: detail}
    outside = _tumor_outside(case)
    found = {"tumor_outside_liver": outside} if outside else {}
    found |= _place_faults(case) if case.intensity == "HU" else {}
    if found.keys() <= {"tumor_outside_liver"} and (detail := _cut_off(case)):
        found["mask_cut"] = detail
    return found


def odd_volume(labels: np.ndarray, case: Case) -> str | None:
    """Say where a liver (X, Y, Z) is smaller or larger than a body can hold."""
    solid_voxels = np.count_nonzero(thinned(case.image) > BODY_HU) * np.prod(
        thin_steps(case.image.shape)
    )
    voxels = np.count_nonzero(labels)
    share = voxels / max(int(solid_voxels), 1)
    ml = voxels * float(np.prod(case.spacing)) / 1000
    size = f"{ml:.4g} ml" if case.spacing_known else f"{voxels} voxels"
    # A liver that the scan cuts off may be as small as it likes.
    is_cut = bool(labels[..., 0].any() or labels[..., -1].any())
    if not is_cut and (ml < LIVER_ML[0] if case.spacing_known else share < LIVER_SHARE[0]):
        return f"{size}, less than any liver has"
    if case.intensity == "HU" and share > LIVER_SHARE[1]:
        return f"{size}, {share:.0%} of the body"
    if case.spacing_known and ml > LIVER_ML[1]:
        return f"{size}, more than any liver has"
    return None


def _odd_volume(case: Case) -> str | None:
    return odd_volume(case.labels, case)


def _gaps(case: Case) -> str | None:
    labelled = np.flatnonzero(case.labels.any(axis=(0, 1)))
    empty = np.setdiff1d(np.arange(labelled[0], labelled[-1]), labelled)
    if not empty.size:
        return None
    return (
        f"{empty.size} slices without labels, the first number {empty[0]}, lie between labelled"
        f" ones ({labelled[0]} to {labelled[-1]})"
    )


def _cut_off(case: Case) -> str | None:
    """Say where the labels end in a plane that is nearly as large as the largest."""
    for axis, (first, last) in enumerate(ENDS):
        sizes = np.count_nonzero(case.labels, axis=tuple({0, 1, 2} - {axis}))
        labelled = np.flatnonzero(sizes)
        for name, index, edge in (
            (first, labelled[0], 0),
            (last, labelled[-1], len(sizes) - 1),
        ):
            share = sizes[index] / sizes.max()
            if index != edge and share > CUT_SHARE:
                return f"its {name} plane is {share:.0%} as large as its largest"
    return None


def _swapped(case: Case) -> str | None:
    """Label 1 lies within label 2, where a tumour would lie, or nowhere."""
    if not (case.labels == LIVER).any():
        return "all that is labelled is 2"
    mask = thinned(case.labels)
    inner = mask == LIVER
    around = mask[ndimage.binary_dilation(inner, BALL) & ~inner]
    share = np.mean(around == TUMOR) if around.size else 0
    if share < 0.5 or np.count_nonzero(mask == TUMOR) < 2 * np.count_nonzero(inner):
        return None
    return f"{share:.0%} of what surrounds label 1 is label 2"


def _tumor_outside(case: Case) -> str | None:
    if not (case.labels == TUMOR).any():
        return None
    mask = case.labels[_bounding_box(case.labels)]
    regions, n_regions = ndimage.label(mask, ndimage.generate_binary_structure(3, 3))
    with_liver = np.unique(regions[mask == LIVER])
    alone = n_regions - with_liver.size
    return f"{alone} of {n_regions} labelled regions are tumour without liver" if alone else None


def _tumor_only(case: Case) -> str | None:
    """Most of what surrounds the labels is one tissue like a liver's, and no darker."""
    image, liver = thinned(case.image).astype(np.int32), thinned(case.labels) > 0
    if case.intensity != "HU" or not liver.any():
        return None
    shell = image[ndimage.binary_dilation(liver, WITHIN_SLICES, 2) & ~liver]
    centre, share = _commonest(shell, max(LIKE_HU, 2 * _noise(image, liver)))
    inside = np.median(image[liver])
    # Most tumours are darker than their liver; a liver without fat around it is brighter than that.
    if share < INSIDE_ORGAN_SHARE or centre < inside - 8:
        return None
    return f"{share:.0%} of what surrounds it has about {centre} HU, and it has {inside:.0f} itself"


# The first that holds says what the labels are, so that nothing more can be told from them.
WHAT_IT_IS = {
    "liver_volume": _odd_volume,
    "tumor_only": _tumor_only,
    "swapped_labels": _swapped,
    "mask_gaps": _gaps,
}


def _place_faults(case: Case) -> dict[str, str]:
    image, liver = thinned(case.image).astype(np.int32), thinned(case.labels) > 0
    if not liver.any():
        return {}
    median = float(np.median(image[liver]))
    if not LIVER_HU[0] <= median <= LIVER_HU[1] + 50:
        return {"mask_off_liver": f"its median is {median:.0f} HU"}
    width = max(LIKE_HU, 2 * _noise(image, liver))
    unit = "mm" if case.spacing_known else "voxels"
    spacing = np.multiply(case.spacing, thin_steps(case.image.shape))
    return _position_faults(image, liver, width, spacing, unit)


def _noise(image: np.ndarray, liver: np.ndarray) -> float:
    """Return the standard deviation of the noise, from neighbours' differences in the liver."""
    differences = np.diff(image, axis=0)[liver[1:] & liver[:-1]]
    if not differences.size:
        return 0.0
    return float(1.4826 * np.median(np.abs(differences)) / np.sqrt(2))


def _commonest(values: np.ndarray, width: float) -> tuple[int, float]:
    """Return the liver-like HU with most values within `width` of it, and their share."""
    low, high = LIVER_HU
    reach = round(width)
    span = high - low + 2 * reach + 1
    above = values - (low - reach)
    counts = np.bincount(above[(above >= 0) & (above < span)], minlength=span)
    sums = np.convolve(counts, np.ones(2 * reach + 1, int), "valid")
    best = int(sums.argmax())
    return low + best, float(sums[best] / max(values.size, 1))


def _position_faults(
    image: np.ndarray, liver: np.ndarray, width: float, spacing: np.ndarray, unit: str
) -> dict[str, str]:
    """Compare how much of the mask lies on one tissue with what flips and shifts would bring."""
    centre, here = _commonest(image[liver], width)
    like = np.abs(image - centre) <= width
    shift = _best_shift(like, liver, spacing)
    moved = np.roll(liver, shift, (0, 1, 2))
    moved_centre, shifted = _commonest(image[moved], width)
    turn, turned = _best_turn(image, liver, width)
    if turned > max(GOOD_SHARE, here + FLIP_MARGIN, shifted + SHIFT_MARGIN["else"]):
        return {"turned_mask": f"{turn}, {_shares(turned, here)}"}
    is_shift = shifted - here > SHIFT_MARGIN["else" if any(shift[:2]) else "slices"]
    if is_shift:
        border = _border(np.abs(image - moved_centre) <= width, moved)
    else:
        border = _border(like, liver)
    if border < (RIGHT_BORDER if is_shift else NO_BORDER):
        return {"foreign_mask": f"its border follows no organ's, {here:.0%} lies on one tissue"}
    if not is_shift:
        detail = f"its rim is like the liver in {border:.0%} more places than what lies outside it"
        return {"loose_mask": detail} if border < LOOSE_BORDER else {}
    moves = [
        f"{step * size:+.0f} {unit} along {axis}"
        for step, size, axis in zip(shift, spacing, "xyz", strict=True)
        if step
    ]
    return {"shifted_mask": f"moved by {' and '.join(moves)}, {_shares(shifted, here)}"}


def _shares(best: float, here: float) -> str:
    return f"{best:.0%} of it lies on one tissue, as it is {here:.0%}"


def _best_turn(image: np.ndarray, liver: np.ndarray, width: float) -> tuple[str, float]:
    """Return the best of all flips and exchanges of axes that the shape allows, and its share."""
    shares = {
        (axes, flips): _commonest(image[np.flip(liver.transpose(axes), flips)], width)[1]
        for axes in itertools.permutations(range(3))
        for count in range(4)
        for flips in itertools.combinations(range(3), count)
        if liver.transpose(axes).shape == liver.shape
    }
    best = max(shares, key=lambda turn: shares[turn])
    axes, flips = best
    turns = [f"with its axes in the order {', '.join('xyz'[axis] for axis in axes)}"]
    turns = turns if axes != (0, 1, 2) else []
    turns += ["flipped along " + " and ".join("xyz"[axis] for axis in flips)] if flips else []
    return " and ".join(turns), shares[best]


def _best_shift(like: np.ndarray, liver: np.ndarray, spacing: np.ndarray) -> tuple[int, ...]:
    """Return the shift in voxels that brings most of the mask on liver-like tissue.

    All shifts at once, as a correlation by Fourier transform.
    """
    furthest = [
        min(size // 4, max(3 if axis == 2 else 1, int(LARGEST_SHIFT_MM / mm)))
        for axis, (size, mm) in enumerate(zip(liver.shape, spacing, strict=True))
    ]
    box = tuple(
        slice(max(0, part.start - far), part.stop + far)
        for part, far in zip(_bounding_box(liver), furthest, strict=True)
    )
    like, liver = like[box], liver[box]
    shape = [
        fft.next_fast_len(size + far, real=True)
        for size, far in zip(liver.shape, furthest, strict=True)
    ]
    spectrum = fft.rfftn(like.astype(np.float32), shape)
    spectrum *= np.conj(fft.rfftn(liver.astype(np.float32), shape))
    counts = fft.irfftn(spectrum, shape)[np.ix_(*(np.arange(-far, far + 1) for far in furthest))]
    best = np.unravel_index(counts.argmax(), counts.shape)
    return tuple(int(index) - far for index, far in zip(best, furthest, strict=True))


def _border(like: np.ndarray, liver: np.ndarray) -> float:
    """Return how much more of the rim than of the shell around it is like the liver."""
    rim = liver & ~ndimage.binary_erosion(liver, BALL, 2)
    shell = ndimage.binary_dilation(liver, BALL, 2) & ~liver
    return float(like[rim].mean() - like[shell].mean()) if shell.any() else 1.0


def _bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    occupied = (np.flatnonzero(mask.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1)))
    return tuple(slice(indices[0], indices[-1] + 1) for indices in occupied)
