"""From an abdomen to the voxels that a scanner delivers."""

from collections.abc import Iterator

import numpy as np
from scipy import fft, ndimage

from liverutils.phantom.cohorts import KERNELS, Cohort
from liverutils.phantom.scanner import Scan
from liverutils.phantom.scene import Patient, Scene
from liverutils.phantom.shapes import Grid, Noise
from liverutils.scans import LIVER, TUMOR


def render_scan(cohort: Cohort, patient: Patient) -> tuple[np.ndarray, np.ndarray]:
    """Render image (int16 HU) and mask (uint8), both (X, Y, Z)."""
    grid, scan, rng = patient.grid, patient.scan, patient.noise
    image, mask = np.empty(grid.shape, np.int16), np.empty(grid.shape, np.uint8)
    textures = draw_textures(patient)
    for part, fine, layers in chunks(cohort, patient, scan.slice_mm, 2**21):
        hu, mask[part] = averaged(Scene(patient, fine, textures), layers)
        image[part] = acquire(rng, hu, scan, cohort.calibration_hu, grid.x[1] - grid.x[0])
    return image.transpose(1, 2, 0), mask.transpose(1, 2, 0)


def draw_textures(patient: Patient) -> dict[int, Noise]:
    """Draw the tissues' textures: mm of their grain → noise over the whole body."""
    return {mm: Noise.over(patient.noise, patient.anatomy.grid, mm) for mm in (5, 9, 24)}


def chunks(
    cohort: Cohort, patient: Patient, step: float, most: int
) -> Iterator[tuple[slice, Grid, int]]:
    """Yield a few slices of a scan at a time: these fit the processor's cache and little memory.

    Args:
        cohort: Says how fine sub-slices are, and how many pixels they have.
        patient: Whose grid is scanned.
        step: From slice to slice, in the grid's mm.
        most: Voxels of all sub-slices of a chunk, about.

    Yields:
        Which slices, the grid of their sub-slices, and how many of these make a slice.
    """
    grid = patient.grid
    layers = max(1, round(patient.scan.slice_mm / cohort.subslice_mm))
    within = ((np.arange(layers) + 0.5) / layers - 0.5) * step
    per_chunk = max(1, round(most / (cohort.matrix**2 * layers)))
    for start in range(0, len(grid.z), per_chunk):
        part = slice(start, start + per_chunk)
        z = (grid.z[part, None] + within).ravel().astype(np.float32)
        yield part, Grid(z, grid.x, grid.y), layers


def averaged(scene: Scene, layers: int) -> tuple[np.ndarray, np.ndarray]:
    """Average a scene's sub-slices: HU, and labels where the liver and a tumour fill half."""
    hu, liver, tumor = (average_layers(a, layers) for a in (scene.hu, scene.liver, scene.tumor))
    return hu, np.where(liver > 0.5, np.where(tumor > 0.5, TUMOR, LIVER), 0)


def average_layers(fine: np.ndarray, layers: int) -> np.ndarray:
    """Average sub-slices (Z * layers, X, Y) to slices (Z, X, Y): partial volume, as in a scan."""
    return fine.reshape(-1, layers, *fine.shape[1:]).mean(axis=1)


def acquire(
    rng: np.random.Generator, hu: np.ndarray, scan: Scan, offset: float, pixel: float
) -> np.ndarray:
    """Blur slices (Z, X, Y) as the kernel does, add its noise, and store them as a scanner does.

    The noise power rises with frequency as in filtered back-projection and is cut off by the
    kernel, with its peak where `KERNELS` says.
    """
    peak, blur = KERNELS[scan.kernel]
    return as_stored(blur_and_noise(rng, hu, peak, blur, scan.noise_sd, pixel, offset))


def as_stored(hu: np.ndarray) -> np.ndarray:
    """HU as a scanner stores them: int16 from -1024 to 3071."""
    return np.clip(np.rint(hu), -1024, 3071).astype(np.int16)


def blur_and_noise(
    rng: np.random.Generator,
    hu: np.ndarray,
    peak: float,
    blur: float,
    noise_sd: float,
    pixel: float,
    offset: float,
) -> np.ndarray:
    """Blur slices (Z, X, Y) by `blur` mm; add `offset`, and noise of most power at `peak`/mm."""
    shape = hu.shape[1:]
    frequency = np.hypot(fft.fftfreq(shape[0], pixel)[:, None], fft.rfftfreq(shape[1], pixel))
    amplitude = np.sqrt(frequency * np.exp(-((frequency / peak) ** 3) / 3)).astype(np.float32)
    transfer = np.exp(-2 * (np.pi * blur * frequency) ** 2).astype(np.float32)
    noise = fft.irfft2(
        fft.rfft2(rng.standard_normal(hu.shape, dtype=np.float32)) * amplitude, s=shape
    )
    noise *= noise_sd / noise.std()
    blurred = fft.irfft2(fft.rfft2(hu) * transfer, s=shape)
    # Quanta that cross much tissue are few: the middle of the body is noisier than air outside.
    tissue = (hu > -500).astype(np.float32)
    thickness = ndimage.uniform_filter(tissue, (1, shape[0] // 5, shape[1] // 5))
    blurred += noise * (0.35 + 0.72 * thickness) + offset
    return blurred
