"""Faults of values, anatomy and labels, planted in memory, and right scans that are odd."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy import ndimage

from liverutils.scans import LIVER, TUMOR, Case

# A change of a case, and the faults of which one must be named; none for a scan that is right.
VoxelCase = tuple[Callable[[Case], Case], set[str]]


def values(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Case], Case]:
    """Change the values as a float volume; they are rounded as a reader does."""

    def plant(case: Case) -> Case:
        image = np.rint(change(case.image.astype(np.float32)))
        return replace(case, image=image.clip(-1024, 32767).astype(np.int16))

    return plant


def labels(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Case], Case]:
    """Change the labels."""
    return lambda case: replace(case, mask=np.ascontiguousarray(change(case.labels)))


def both(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Case], Case]:
    """Change image and labels alike."""
    return lambda case: replace(case, image=change(case.image), mask=change(case.labels))


def alone(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Case], Case]:
    """Change the image of a scan without labels."""
    return lambda case: replace(case, image=change(case.image), mask=None)


def noise(shape: tuple[int, ...], sd: float) -> np.ndarray:
    return np.random.default_rng(0).normal(0, sd, shape)


def corners(image: np.ndarray, value: float) -> np.ndarray:
    """Pad outside the circular field of view."""
    x, y = (np.linspace(-1, 1, size) for size in image.shape[:2])
    image = image.copy()
    image[np.hypot(x[:, None], y) > 1] = value
    return image


def like_mr(image: np.ndarray) -> np.ndarray:
    grey = np.interp(
        image, (-1024, -200, -100, 0, 60, 110, 300, 1500), (0, 20, 900, 200, 300, 450, 250, 20)
    )
    return np.abs(grey + noise(image.shape, 15))


def iodine(image: np.ndarray) -> np.ndarray:
    return np.interp(image, (-200, 0, 60, 110, 300), (0, 0, 3, 25, 90)) + noise(image.shape, 4)


def head(case: Case) -> Case:
    """A skull with a brain, in HU, exact as a drawn phantom is or noisy."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in (96, 96, 30)), indexing="ij")
    distance = np.sqrt((x / 0.4) ** 2 + (y / 0.5) ** 2 + (z / 1.6) ** 2)
    image = np.select([distance < 0.84, distance < 0.94, distance < 1], [35.0, 1000.0, 40.0], -1000)
    image = (image + noise(image.shape, 8)).clip(-1024, 3000)
    return replace(case, image=np.rint(image).astype(np.int16), mask=None)


def drawn_head(case: Case) -> Case:
    image = head(case).image
    levels = np.array([-1000, 35, 1000])
    nearest = np.abs(image[..., None] - levels).argmin(-1)
    return replace(case, image=levels[nearest].astype(np.int16), mask=None)


def infant(case: Case) -> Case:
    """The body, a quarter as wide, in an adult's field of view."""
    small = case.image[::2, ::2]
    image = np.rint(-1000 + noise((*(4 * s for s in small.shape[:2]), small.shape[2]), 12))
    image = image.astype(np.int16)
    x, y = (3 * size // 2 for size in small.shape[:2])
    image[x : x + small.shape[0], y : y + small.shape[1]] = small
    return replace(case, image=image, mask=None)


def full_heart(case: Case) -> Case:
    """A heart full of contrast in front, from the top to the middle of the scan."""
    image, (width, depth, height) = case.image.copy(), case.image.shape
    x, y, z = np.indices(image.shape, sparse=True)
    distance = ((x - 0.42 * width) / (0.13 * width)) ** 2 + (
        (y - 0.62 * depth) / (0.13 * depth)
    ) ** 2
    image[distance + ((z - height) / (0.5 * height)) ** 2 < 1] = 380
    return replace(case, image=image)


def every_fifth(mask: np.ndarray) -> np.ndarray:
    kept = np.zeros_like(mask)
    kept[..., ::5] = mask[..., ::5]
    return kept


def without_middle(mask: np.ndarray) -> np.ndarray:
    mask, labelled = mask.copy(), np.flatnonzero(mask.any(axis=(0, 1)))
    middle = labelled[len(labelled) // 2]
    mask[..., middle : middle + max(1, len(labelled) // 10)] = 0
    return mask


def one_voxel(mask: np.ndarray) -> np.ndarray:
    one = np.zeros_like(mask)
    one[tuple(np.argwhere(mask)[np.count_nonzero(mask) // 2])] = LIVER
    return one


def body_as_mask(case: Case) -> Case:
    return replace(case, mask=(case.image > -400).astype(np.uint8))


def aside(mm: float, axis: int) -> Callable[[Case], Case]:
    return lambda case: replace(
        case, mask=np.roll(case.labels, max(1, round(mm / case.spacing[axis])), axis)
    )


def crop_to_liver(case: Case) -> Case:
    box = tuple(slice(i.min(), i.max() + 1) for i in np.nonzero(case.labels))
    return replace(case, image=case.image[box], mask=case.labels[box])


def without_upper_third(mask: np.ndarray) -> np.ndarray:
    mask, labelled = mask.copy(), np.flatnonzero(mask.any(axis=(0, 1)))
    mask[..., labelled[2 * len(labelled) // 3] :] = 0
    return mask


def left_part(mask: np.ndarray) -> np.ndarray:
    mask, labelled = mask.copy(), np.flatnonzero(mask.any(axis=(1, 2)))
    mask[labelled[len(labelled) // 2] :] = 0
    return mask


def grown(mask: np.ndarray) -> np.ndarray:
    swollen = ndimage.binary_dilation(mask > 0, iterations=5)
    return np.where(swollen, np.maximum(mask, LIVER), 0).astype(np.uint8)


def upper(share: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda volume: volume[..., -max(2, int(share * volume.shape[2])) :]


NOT_HU = {"not_hu"}
TURNED = {"turned_patient"}
VALUES: dict[str, VoxelCase] = {
    "0 to 255": (values(lambda v: (v.clip(-200, 300) + 200) * 0.51), {"eight_bit"}),
    "0 to 1": (values(lambda v: (v.clip(-200, 300) + 200) / 500), {"normalised"}),
    "-1 to 1": (values(lambda v: v.clip(-1000, 1000) / 1000), {"normalised"}),
    "z-scores": (values(lambda v: (v - v.mean()) / v.std()), {"normalised"}),
    "HU / 10": (values(lambda v: v / 10), {"scaled_hu"}),
    "HU / 4": (values(lambda v: v / 4), {"scaled_hu"}),
    "HU / 2": (values(lambda v: v / 2), {"scaled_hu"}),
    "HU * 2": (values(lambda v: v * 2), {"scaled_hu"}),
    "HU * 10": (values(lambda v: v * 10), {"no_soft_tissue"}),
    "HU * -1": (values(lambda v: -v), NOT_HU),
    "-128 to 127": (values(lambda v: (v.clip(-200, 300) + 200) * 0.51 - 128), {"eight_bit"}),
    "255 to 0": (values(lambda v: 255 - (v.clip(-200, 300) + 200) * 0.51), {"eight_bit"}),
    "0 to 4095": (values(lambda v: (v.clip(-1000, 1000) + 1000) * 2.0475), NOT_HU),
    "0 to 32767": (values(lambda v: (v.clip(-1000, 1000) + 1000) * 16.38), NOT_HU),
    "HU + 1024": (values(lambda v: v + 1024), {"not_rescaled"}),
    "HU + 1000": (values(lambda v: v + 1000), {"not_rescaled"}),
    "HU + 1024 with a border of -1024": (
        values(lambda v: corners(v + 1024, -1024)),
        {"not_rescaled"},
    ),
    "HU + 1024 with a border of 0": (values(lambda v: corners(v + 1024, 0)), {"not_rescaled"}),
    "HU + 500": (values(lambda v: v + 500), {"no_soft_tissue"}),
    "HU - 1024": (values(lambda v: v - 1024), {"twice_rescaled"}),
    "like MR": (values(like_mr), NOT_HU),
    "like MR, 12 bit": (values(lambda v: 3 * like_mr(v)), NOT_HU),
    "iodine map": (values(iodine), NOT_HU),
    "iodine map, masked": (values(lambda v: np.where(v < -500, -1024, iodine(v))), NOT_HU),
    "effective Z map, masked": (
        values(lambda v: np.where(v < -500, -1024, np.interp(v, (-150, 60, 1000), (60, 75, 130)))),
        NOT_HU,
    ),
    "blank": (values(lambda v: v * 0 + 40), {"no_soft_tissue"}),
    "HU cut off at -200 and 250": (values(lambda v: v.clip(-200, 250)), {"no_air"}),
    "HU with circular padding": (values(lambda v: corners(v, -1024)), set()),
    "HU with bright padding": (values(lambda v: corners(v, 3071)), set()),
    "HU with padding of 0": (values(lambda v: corners(v, 0)), set()),
    "HU, bone cut off": (values(lambda v: v.clip(-1024, 300)), set()),
    "HU, organs full of contrast": (values(lambda v: np.where(v > 0, 1.8 * v, v)), set()),
    "HU, air without noise": (values(lambda v: np.where(v < -900, -1024, v)), set()),
    "an infant in a large field": (infant, set()),
    "a crop around the liver": (crop_to_liver, set()),
    "a heart full of contrast": (full_heart, set()),
    "a heart full of contrast, no labels": (lambda c: replace(full_heart(c), mask=None), set()),
}
ANATOMY: dict[str, VoxelCase] = {
    "a head": (head, {"liver_not_covered"}),
    "a drawn head": (drawn_head, {"liver_not_covered"}),
    "a scan that ends in the chest": (alone(upper(0.15)), {"liver_not_covered"}),
    "the upper half": (alone(upper(0.5)), set()),
    "turned by half, no labels": (alone(lambda v: v[::-1, ::-1]), TURNED),
    "turned by a quarter, no labels": (alone(np.rot90), TURNED),
    "x and z exchanged, no labels": (alone(lambda v: v.swapaxes(0, 2)), TURNED),
    "y and z exchanged, no labels": (alone(lambda v: v.swapaxes(1, 2)), TURNED),
    "left and right exchanged, no labels": (alone(lambda v: v[::-1]), {"liver_on_left"}),
    "front and back exchanged, no labels": (alone(lambda v: v[:, ::-1]), TURNED),
    "head and feet exchanged, no labels": (alone(lambda v: v[..., ::-1]), {"liver_not_covered"}),
    "x and y exchanged, no labels": (alone(lambda v: v.swapaxes(0, 1)), TURNED),
    "left and right exchanged": (both(lambda v: v[::-1]), TURNED),
    "front and back exchanged": (both(lambda v: v[:, ::-1]), TURNED),
    "head and feet exchanged": (both(lambda v: v[..., ::-1]), TURNED),
    "x and y exchanged": (both(lambda v: v.swapaxes(0, 1)), TURNED),
    "x and z exchanged": (both(lambda v: v.swapaxes(0, 2)), TURNED),
}
LABELS: dict[str, VoxelCase] = {
    "labels flipped along x": (labels(lambda m: m[::-1]), {"turned_mask", "mask_off_liver"}),
    "labels flipped along y": (labels(lambda m: m[:, ::-1]), {"turned_mask"}),
    "labels upside down": (labels(lambda m: m[..., ::-1]), {"turned_mask"}),
    "labels transposed": (labels(lambda m: m.swapaxes(0, 1)), {"turned_mask"}),
    "labels turned by half": (labels(lambda m: m[::-1, ::-1]), {"turned_mask"}),
    "labels flipped along y and z": (labels(lambda m: m[:, ::-1, ::-1]), {"turned_mask"}),
    "labels 8 mm to the right": (aside(8, 0), {"shifted_mask"}),
    "labels 8 mm to the front": (aside(8, 1), {"shifted_mask"}),
    "labels 8 mm up": (aside(8, 2), {"shifted_mask"}),
    "every fifth slice labelled": (labels(every_fifth), {"mask_gaps"}),
    "slices in the middle not labelled": (labels(without_middle), {"mask_gaps"}),
    "every second slice labelled": (
        labels(lambda m: m * (np.arange(m.shape[2]) % 2).astype(np.uint8)),
        {"mask_gaps"},
    ),
    "upper third of the liver not labelled": (
        labels(without_upper_third),
        {"mask_cut", "shifted_mask"},
    ),
    "half of the liver not labelled": (labels(left_part), {"mask_cut", "shifted_mask"}),
    "labels 5 voxels too large": (labels(grown), {"loose_mask", "foreign_mask"}),
    "tumours only, as 1": (
        labels(lambda m: (m == TUMOR).astype(np.uint8)),
        {"tumor_only", "liver_volume"},
    ),
    "tumours only, as 2": (
        labels(lambda m: m * (m == TUMOR)),
        {"tumor_only", "liver_volume"},
    ),
    "liver and tumour exchanged": (
        labels(lambda m: np.array([0, 2, 1], np.uint8)[m]),
        {"swapped_labels"},
    ),
    "the liver as 2": (labels(lambda m: (m > 0) * np.uint8(TUMOR)), {"swapped_labels"}),
    "no tumour labelled": (labels(lambda m: (m > 0).astype(np.uint8)), set()),
    "background and liver exchanged": (
        labels(lambda m: np.array([1, 0, 2], np.uint8)[m]),
        {"liver_volume"},
    ),
    "one labelled voxel": (labels(one_voxel), {"liver_volume"}),
    "the body as mask": (body_as_mask, {"liver_volume"}),
    "no voxel labelled": (labels(lambda m: m * 0), {"empty_mask"}),
}
