"""A seeded cohort of synthetic abdominal CT scans with liver tumours.

Every patient is drawn in four steps, each with random numbers of its own: the anatomy, how it takes
up contrast, its lesions, and the scanner's noise. The scene is rendered on thin sub-slices that are
averaged to the scan's slices, so that small lesions suffer partial volume as in a real scan.
"""

from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import fft, ndimage
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from liverutils.datasets._anatomy import (
    BOWEL_GROUPS,
    COARSE_MM,
    RIB_DEPTH,
    RIB_RADIUS,
    Anatomy,
    Box,
    Grid,
    Noise,
    make_anatomy,
    rib_distance,
    rotation,
    spine_distances,
)
from liverutils.datasets.volumes import LIVER, TUMOR, Case, write_nifti
from liverutils.errors import BadInput
from liverutils.files import one_at_a_time, written_aside
from liverutils.parallel import in_processes

# Peak of the noise power spectrum in 1/mm and in-plane blur (standard deviation, mm).
KERNELS = {
    "soft": (0.20, 0.85),
    "standard": (0.25, 0.65),
    "sharp": (0.30, 0.50),
    "edge": (0.34, 0.35),
}


@dataclass(frozen=True)
class Phase:
    """What the time after injection does to HU: shifts of the means, in HU.

    `portal` and `hepatic` are the veins' contrast to the liver, as a range.
    """

    portal: tuple[float, float]
    hepatic: tuple[float, float]
    liver: float = 0
    spleen: float = 0
    kidney: float = 0
    medulla: float = -45
    aorta: float = 0


PHASES = {
    "portal venous": Phase((30, 60), (30, 60)),
    "early portal venous": Phase((30, 60), (-30, -8), kidney=10, medulla=-60, aorta=20),
    "late portal venous": Phase((30, 42), (30, 42), kidney=-5, medulla=-25, aorta=-15),
    "late arterial": Phase((8, 25), (-14, -2), -32, 5, 10, -75, 150),
}


# Kinds of tumour and their shares.
TUMOR_KINDS = {"hypodense": 0.66, "hyperdense": 0.12, "rim": 0.11, "necrotic": 0.11}


@dataclass(frozen=True)
class Cohort:
    """A cohort of synthetic patients; ranges are drawn from uniformly.

    Attributes:
        name: Also the beginning of its patients' names.
        seed: The same seed gives the same bytes.
        patients: How many.
        matrix: Voxels along x and y.
        slice_mm: Slice thicknesses to draw from, in mm; slices touch.
        field_mm: Range of the field of view in mm; it is never smaller than the patient.
        subslice_mm: Slices are averaged from sub-slices about this thick.
        phases: Contrast phase to its share.
        kernels: Names in `KERNELS` to draw from.
        noise_sd: Range of the noise's standard deviation in the abdomen, in HU.
        calibration_hu: Added by a scanner that is out of tune.
        tumor_free: Share of patients without a tumour.
        tumor_median_mm: Median diameter of the tumours.
    """

    name: str
    seed: int
    patients: int
    matrix: int = 256
    slice_mm: tuple[float, ...] = (3.0, 4.0, 5.0)
    field_mm: tuple[float, float] = (320.0, 420.0)
    subslice_mm: float = 1.25
    phases: dict[str, float] = field(
        default_factory=lambda: {
            "portal venous": 0.6,
            "early portal venous": 0.22,
            "late portal venous": 0.18,
        }
    )
    kernels: tuple[str, ...] = ("soft", "standard", "sharp")
    noise_sd: tuple[float, float] = (10.0, 22.0)
    calibration_hu: float = 0.0
    tumor_free: float = 0.17
    tumor_median_mm: float = 12.0


COHORTS = {
    cohort.name: cohort
    for cohort in (
        Cohort("phantom", seed=1, patients=24),
        Cohort(
            "phantom-smoke",
            seed=2,
            patients=5,
            matrix=64,
            slice_mm=(13.0,),
            subslice_mm=4.0,
            tumor_free=0.2,
            tumor_median_mm=30.0,
        ),
        Cohort("phantom-gpu", 3, patients=120, matrix=512, slice_mm=(1.0, 1.5, 2.0, 2.5)),
        Cohort(
            "phantom-shifted",
            seed=4,
            patients=8,
            slice_mm=(2.5,),
            phases={"late arterial": 1.0},
            kernels=("edge",),
            noise_sd=(20.0, 25.0),
            calibration_hu=8.0,
        ),
    )
}


@dataclass(frozen=True)
class Lesion:
    """A round lesion of the liver, with a wavy surface.

    Attributes:
        kind: "hypodense", "hyperdense", "rim", "necrotic": tumours; "cyst", "focal fat": not.
        centre: (x, y, z) in mm.
        diameter: In mm.
        hu: HU in the middle.
        rim_hu: HU at the border.
        softness: Width of the border in mm.
        axes: (3,) relative radii, of product 1.
        waves: (N, 3) wave vectors in 1/mm of the waves on its surface.
        phases: (N,) phases of these waves.
        tilt: (3, 3) rotation.
    """

    kind: str
    centre: np.ndarray
    diameter: float
    hu: float
    rim_hu: float
    softness: float
    axes: np.ndarray
    waves: np.ndarray
    phases: np.ndarray
    tilt: np.ndarray

    @property
    def is_tumor(self) -> bool:
        """False for what only looks like a tumour."""
        return self.kind not in ("cyst", "focal fat")

    def distance(self, grid: Grid) -> tuple[Box, np.ndarray]:
        """The part of `grid` around the lesion, and the distances to its surface there."""
        reach = self.diameter * 0.8 + 3
        x, y, z = self.centre
        box = grid.box((z - reach, x - reach, y - reach), (z + reach, x + reach, y + reach))
        zs, xs, ys = grid.within(box).open()
        offset = (xs - x, ys - y, zs - z)
        turned = [sum(row[i] * offset[i] for i in range(3)) for row in self.tilt]
        radius = np.sqrt(sum((t / a) ** 2 for t, a in zip(turned, self.axes, strict=True)))
        waves = sum(
            np.sin(sum(k * o for k, o in zip(wave, offset, strict=True)) + phase)
            for wave, phase in zip(self.waves, self.phases, strict=True)
        )
        roughness = 0.03 if self.kind == "cyst" else 0.08
        surface = self.diameter / 2 * (1 + roughness * waves)
        return box, (radius - surface).astype(np.float32)


@dataclass(frozen=True)
class Scan:
    """How one patient was scanned, and the HU of organs and materials."""

    phase: str
    kernel: str
    noise_sd: float
    slice_mm: float
    field_mm: float
    steatosis: bool
    hu: dict[str, float]


def make_patient(cohort: Cohort, number: int) -> Case:
    """Make patient `number` of `cohort`, the same whenever and wherever it is made."""
    # Sums over several threads could be rounded in another order.
    with threadpool_limits(1):
        return _make_case(cohort, number)


def make_cohort(
    name: str,
    folder: Path | str,
    *,
    workers: int | None = None,
    progress: bool = True,
    patients: int | None = None,
) -> Path:
    """Write a cohort as NIfTI volumes and `patients.csv`, whole or not at all.

    Args:
        name: One of `COHORTS`.
        folder: Where to; if the cohort is there already, nothing is done.
        workers: Processes; as many as there are cores by default. The files do not depend on it.
        progress: Show a progress bar.
        patients: Make only this many, the first ones.

    Returns:
        `folder`, with volume-NNN.nii.gz, segmentation-NNN.nii.gz and patients.csv.

    Raises:
        BadInput: unknown_cohort, bad_count, folder_in_use.
    """
    if name not in COHORTS:
        raise BadInput(
            f"There is no phantom cohort {name!r}; choose one of {', '.join(COHORTS)}.",
            fault="unknown_cohort",
        )
    folder, cohort = Path(folder), COHORTS[name]
    count = cohort.patients if patients is None else patients
    if count < 1:
        raise BadInput(
            f"A phantom cohort of {count} patients cannot be made; ask for at least 1.",
            fault="bad_count",
        )
    with one_at_a_time(folder):
        if folder.exists() and not _is_empty(folder):
            _check_holds(folder, name, patients)
            return folder
        with written_aside(folder) as aside:
            aside.mkdir()
            rows = in_processes(partial(_write_patient, cohort, aside), range(count), workers)
            bar = tqdm(rows, f"making {name}", count, unit="patient", disable=not progress)
            pd.DataFrame(list(bar)).to_csv(aside / "patients.csv", index=False)
    return folder


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _check_holds(folder: Path, name: str, patients: int | None) -> None:
    table = folder / "patients.csv"
    there = pd.read_csv(table) if table.is_file() else pd.DataFrame({"cohort": []})
    if set(there["cohort"]) != {name} or patients not in (None, len(there)):
        raise BadInput(
            f"{folder} exists and holds something else than the cohort asked for; remove it or "
            "name another folder.",
            fault="folder_in_use",
        )


def _write_patient(cohort: Cohort, folder: Path, number: int) -> dict:
    case = make_patient(cohort, number)
    write_nifti(folder / f"volume-{number:03d}.nii.gz", case.image, case.affine)
    write_nifti(folder / f"segmentation-{number:03d}.nii.gz", case.mask, case.affine)
    voxel_ml = np.prod(case.spacing) / 1000
    tumors, n_tumors = ndimage.label(case.mask == TUMOR)
    return {
        "patient": case.patient,
        "volume": case.volume,
        **case.provenance,
        "spacing": " ".join(f"{s:.4g}" for s in case.spacing),
        "slices": case.image.shape[2],
        "liver_ml": round(float((case.mask >= LIVER).sum() * voxel_ml), 1),
        "tumor_ml": round(float((tumors > 0).sum() * voxel_ml), 2),
        "n_tumors": n_tumors,
    }


@dataclass(frozen=True)
class _Patient:
    """All that was drawn for one patient; `noise` draws what the scanner adds."""

    anatomy: Anatomy
    scan: Scan
    lesions: list[Lesion]
    grid: Grid
    noise: np.random.Generator


def _draw_patient(cohort: Cohort, number: int) -> _Patient:
    body, scanner, disease, noise = np.random.default_rng([cohort.seed, number]).spawn(4)
    anatomy = make_anatomy(body)
    scan = sample_scan(scanner, cohort, anatomy.width)
    lesions = sample_lesions(disease, cohort, number, scan, anatomy)
    return _Patient(anatomy, scan, lesions, _scan_grid(scanner, cohort, scan, anatomy), noise)


def _make_case(cohort: Cohort, number: int) -> Case:
    patient = _draw_patient(cohort, number)
    image, mask = _render(cohort, patient)
    grid = patient.grid
    pixel = patient.scan.field_mm / cohort.matrix
    affine = np.diag([pixel, pixel, patient.scan.slice_mm, 1.0])
    affine[:3, 3] = grid.x[0], grid.y[0], grid.z[0]
    facts = asdict(patient.scan)
    facts |= {f"{organ}_hu": round(hu, 1) for organ, hu in facts.pop("hu").items()}
    kinds = [lesion.kind for lesion in patient.lesions]
    return Case(
        patient=f"{cohort.name}-{number:03d}",
        volume=f"{number:03d}",
        image=image,
        mask=mask,
        affine=affine,
        provenance={
            "cohort": cohort.name,
            "seed": cohort.seed,
            **{k: round(v, 2) if isinstance(v, float) else v for k, v in facts.items()},
            "n_cysts": kinds.count("cyst"),
            "n_focal_fat": kinds.count("focal fat"),
        },
    )


def sample_scan(rng: np.random.Generator, cohort: Cohort, width: float) -> Scan:
    """Draw phase, kernel, dose and field of view for a patient `width` mm wide, and HU."""
    name = str(rng.choice(list(cohort.phases), p=list(cohort.phases.values())))
    steatosis = bool(rng.random() < 0.15)
    return Scan(
        phase=name,
        kernel=str(rng.choice(cohort.kernels)),
        noise_sd=rng.uniform(*cohort.noise_sd),
        slice_mm=float(rng.choice(cohort.slice_mm)),
        field_mm=float(np.clip(width + rng.uniform(6, 50), *cohort.field_mm)),
        steatosis=steatosis,
        hu=_sample_hu(rng, PHASES[name], steatosis),
    )


def _sample_hu(rng: np.random.Generator, phase: Phase, steatosis: bool) -> dict[str, float]:
    """Draw HU by organ around the means of the portal venous phase."""
    liver = phase.liver + (rng.normal(80, 8) if steatosis else rng.normal(109, 10))
    aorta = phase.aorta + rng.normal(145, 17)
    hu = {
        "liver": liver,
        "portal": liver + rng.uniform(*phase.portal),
        "hepatic": liver + rng.uniform(*phase.hepatic),
        "spleen": phase.spleen + rng.normal(118, 13),
        "kidney": phase.kidney + rng.normal(184, 21),
        "aorta": aorta,
        "cava": phase.aorta * 0.1 + rng.normal(120, 12),
        "muscle": rng.normal(60, 6),
        "fat": rng.normal(-103, 8),
        "bile": rng.uniform(5, 15),
        "marrow": rng.normal(200, 25),
        "cortex": rng.normal(700, 60),
        "lung": rng.normal(-870, 20),
    }
    return hu | {"medulla": hu["kidney"] + phase.medulla}


def sample_diameters(rng: np.random.Generator, count: int, median: float = 12.0) -> np.ndarray:
    """Draw tumour diameters in mm: log-normal, cut off at 4 and 80 mm."""
    diameters = np.empty(0)
    while len(diameters) < count:
        drawn = rng.lognormal(np.log(median), 0.62, count)
        diameters = np.concatenate([diameters, drawn[(drawn >= 4) & (drawn <= 80)]])
    return diameters[:count]


def has_tumors(cohort: Cohort, number: int) -> bool:
    """Whether a patient has tumours: spread evenly, so that every cohort keeps its share."""
    offset = np.random.default_rng(cohort.seed).random()
    return (number * cohort.tumor_free + offset) % 1 >= cohort.tumor_free


def sample_lesions(
    rng: np.random.Generator, cohort: Cohort, number: int, scan: Scan, anatomy: Anatomy
) -> list[Lesion]:
    """Draw tumours and cysts and focal fat, which only look like tumours."""
    wanted = []
    if has_tumors(cohort, number):
        count = min(1 + rng.geometric(0.33), 12)
        kinds = rng.choice(list(TUMOR_KINDS), size=count, p=list(TUMOR_KINDS.values()))
        # The largest are placed first, while there is room.
        diameters = np.sort(sample_diameters(rng, count, cohort.tumor_median_mm))[::-1]
        wanted += zip(kinds, diameters, strict=True)
    if rng.random() < 0.45:
        diameters = np.clip(rng.lognormal(np.log(10), 0.5, rng.integers(1, 5)), 4, 45)
        wanted += [("cyst", diameter) for diameter in diameters]
    if rng.random() < 0.35:
        wanted += [("focal fat", diameter) for diameter in rng.uniform(12, 30, rng.integers(1, 3))]
    lesions: list[Lesion] = []
    for kind, diameter in wanted:
        centre = _find_room(rng, anatomy, kind, diameter, lesions)
        if centre is not None:
            lesions.append(_shape_lesion(rng, str(kind), centre, diameter, scan.hu))
    return lesions


def _find_room(
    rng: np.random.Generator, anatomy: Anatomy, kind: str, diameter: float, others: list[Lesion]
) -> np.ndarray | None:
    """Draw a centre (3,) in the liver, apart from the others; None where there is no room."""
    depth = -anatomy.fields["liver"]
    least = (0.2 if kind == "focal fat" else 0.45) * diameter
    room = np.argwhere(depth > min(least, depth.max() - 2))
    first = np.array([axis[0] for axis in anatomy.grid.axes])
    for _ in range(30):
        place = room[rng.integers(len(room))] + rng.uniform(-0.5, 0.5, 3)
        centre = (first + place * COARSE_MM)[[1, 2, 0]]
        gaps = [np.linalg.norm(centre - other.centre) for other in others]
        apart = [0.55 * (diameter + other.diameter) for other in others]
        if all(gap > least for gap, least in zip(gaps, apart, strict=True)):
            return centre
    return None


def _shape_lesion(rng, kind: str, centre, diameter: float, hu: dict[str, float]) -> Lesion:
    liver = hu["liver"]
    # A fatty liver is darker, and so nearer to its tumours.
    contrast = rng.triangular(10, 42, 60) * np.clip(liver / 105, 0.6, 1)
    middle, rim = {
        "hypodense": (liver - contrast, liver - contrast),
        "hyperdense": (liver + 0.8 * contrast, liver + 0.8 * contrast),
        "rim": (liver - contrast, liver + rng.uniform(10, 35)),
        "necrotic": (rng.uniform(20, 45), liver - 0.4 * contrast),
        "cyst": (rng.uniform(5, 15),) * 2,
        "focal fat": (liver - rng.uniform(15, 45),) * 2,
    }[kind]
    axes = np.exp(rng.normal(0, 0.06 if kind == "cyst" else 0.14, 3))
    if kind == "focal fat":
        axes = np.array([0.6, 1.2, 1.4])
    softness = {"cyst": 0.8, "focal fat": 5.0}.get(kind) or rng.uniform(1.0, 3.5)
    return Lesion(
        kind=kind,
        centre=centre,
        diameter=float(diameter),
        hu=float(middle),
        rim_hu=float(rim),
        softness=float(softness),
        axes=axes / np.prod(axes) ** (1 / 3),
        waves=rng.normal(0, 5 / diameter, (5, 3)),
        phases=rng.uniform(0, 2 * np.pi, 5),
        tilt=rotation(*rng.uniform(0, 180, 3)),
    )


def _scan_grid(rng, cohort: Cohort, scan: Scan, anatomy: Anatomy) -> Grid:
    """Voxel centres of the scan: from below liver and kidneys to the bases of the lungs."""
    bottom, top = anatomy.floor - rng.uniform(4, 20), anatomy.dome + rng.uniform(8, 24)
    bottom = max(bottom, float(anatomy.grid.z[0]) + scan.slice_mm / 2)
    pixel = scan.field_mm / cohort.matrix
    across = (np.arange(cohort.matrix) - (cohort.matrix - 1) / 2) * pixel
    middle_y = (anatomy.back + anatomy.belly) / 2
    return Grid(
        np.arange(bottom, top, scan.slice_mm, dtype=np.float32),
        (across + rng.normal(0, 3)).astype(np.float32),
        (across + middle_y - rng.uniform(0, 8)).astype(np.float32),
    )


def _render(cohort: Cohort, patient: _Patient) -> tuple[np.ndarray, np.ndarray]:
    """Render image (int16 HU) and mask (uint8), both (X, Y, Z)."""
    grid, scan, rng = patient.grid, patient.scan, patient.noise
    image = np.empty(grid.shape, np.int16)
    mask = np.zeros(grid.shape, np.uint8)
    textures = {mm: Noise.over(rng, patient.anatomy.grid, mm) for mm in (5, 9, 24)}
    layers = max(1, round(scan.slice_mm / cohort.subslice_mm))
    within = ((np.arange(layers) + 0.5) / layers - 0.5) * scan.slice_mm
    # A few slices at a time keep the arrays in the processor's cache and the memory small.
    per_chunk = max(1, round(2**21 / (cohort.matrix**2 * layers)))
    for start in range(0, len(grid.z), per_chunk):
        part = slice(start, start + per_chunk)
        z = (grid.z[part, None] + within).ravel().astype(np.float32)
        scene = _Scene(patient, Grid(z, grid.x, grid.y), textures)
        hu, liver, tumor = (_average(a, layers) for a in (scene.hu, scene.liver, scene.tumor))
        image[part] = _acquire(rng, hu, scan, cohort.calibration_hu, grid.x[1] - grid.x[0])
        mask[part][liver > 0.5] = LIVER
        mask[part][(liver > 0.5) & (tumor > 0.5)] = TUMOR
    return image.transpose(1, 2, 0), mask.transpose(1, 2, 0)


def _average(fine: np.ndarray, layers: int) -> np.ndarray:
    return fine.reshape(-1, layers, *fine.shape[1:]).mean(axis=1)


def _acquire(rng, hu: np.ndarray, scan: Scan, offset: float, pixel: float) -> np.ndarray:
    """Blur slices (Z, X, Y) as the kernel does, add its noise, and store them as a scanner does.

    The noise power rises with frequency as in filtered back-projection and is cut off by the
    kernel, with its peak where `KERNELS` says.
    """
    peak, blur = KERNELS[scan.kernel]
    shape = hu.shape[1:]
    frequency = np.hypot(fft.fftfreq(shape[0], pixel)[:, None], fft.rfftfreq(shape[1], pixel))
    amplitude = np.sqrt(frequency * np.exp(-((frequency / peak) ** 3) / 3)).astype(np.float32)
    transfer = np.exp(-2 * (np.pi * blur * frequency) ** 2).astype(np.float32)
    noise = fft.irfft2(
        fft.rfft2(rng.standard_normal(hu.shape, dtype=np.float32)) * amplitude, s=shape
    )
    noise *= scan.noise_sd / noise.std()
    blurred = fft.irfft2(fft.rfft2(hu) * transfer, s=shape)
    # Quanta that cross much tissue are few: the middle of the body is noisier than air outside.
    tissue = (hu > -500).astype(np.float32)
    thickness = ndimage.uniform_filter(tissue, (1, shape[0] // 5, shape[1] // 5))
    blurred += noise * (0.35 + 0.72 * thickness) + offset
    return np.clip(np.rint(blurred), -1024, 3071).astype(np.int16)


def _coverage(distance: np.ndarray, edge: float) -> np.ndarray:
    """1 inside a shape, 0 outside, with a border `edge` mm wide."""
    return np.clip(0.5 - distance / edge, 0, 1)


def _ridge(offset: np.ndarray, width: float) -> np.ndarray:
    """1 at offset 0, falling to 0 over `width` on both sides."""
    return np.maximum(1 - np.abs(offset) / width, 0)


class _Scene:
    """Sub-slices of the patient painted organ after organ; what is painted later covers."""

    def __init__(self, patient: _Patient, grid: Grid, textures: dict[int, Noise]):
        self.anatomy, self.values, self.grid = patient.anatomy, patient.scan.hu, grid
        self.edge = max(1.0, float(grid.x[1] - grid.x[0]))
        self.noise = {mm: texture.at(grid) for mm, texture in textures.items()}
        self.hu = np.full(grid.shape, -1000, np.float32)
        self.liver: np.ndarray | None = None
        self.tumor = np.zeros(grid.shape, np.float32)
        self._paint_wall()
        self._paint_ribs()
        self._paint_bowel()
        self._paint_organs()
        self._paint_liver(patient.lesions)
        self._paint_great_vessels()
        self._paint_chest()
        self._paint_spine()

    def _cover(self, box: Box, distance: np.ndarray, hu) -> np.ndarray:
        """Paint `hu` where `distance` is negative, with a soft border; return the coverage."""
        coverage = _coverage(distance, self.edge)
        region = self.hu[box]
        region += coverage * (hu - region)
        if self.liver is not None:
            self.liver[box] *= 1 - coverage
        return coverage

    def _organ(self, name: str, hu, halo: float = 0) -> None:
        box, distance = self.anatomy.distance(name, self.grid)
        if halo:
            self._cover(box, distance - halo, self.values["fat"])
        self._cover(box, distance, hu(box, distance) if callable(hu) else hu)

    def _tubes(self, name: str, hu: float, wall: float = 0) -> None:
        tubes = self.anatomy.tubes[name]
        box = tubes.box(self.grid, 2.0 + wall)
        part = self.grid.within(box)
        if 0 in part.shape:
            return
        distance = tubes.distance(part, 2.0 + wall)
        if wall:
            self._cover(box, distance - wall, self.values["muscle"])
        self._cover(box, distance, hu)

    def _textured(self, hu: float, fine: float, coarse: float):
        return lambda box, _: hu + fine * self.noise[5][box] + coarse * self.noise[9][box]

    def _septa(self, at: Box | tuple, mm: int, width: float) -> np.ndarray:
        """Thin sheets: where smooth noise changes sign."""
        return _ridge(self.noise[mm][at], width)

    def _paint_wall(self) -> None:
        fat, muscle = self.values["fat"], self.values["muscle"]
        self._paint_table()
        box, skin = self.anatomy.distance("body", self.grid)
        self._cover(box, skin, 10)
        self._cover(box, skin + 2, fat + 35 * self._septa(box, 24, 0.08) + 5 * self.noise[5][box])
        self.outside_cavity = np.full(self.grid.shape, 20, np.float32)
        box, inner = self.anatomy.distance("cavity", self.grid, margin=16)
        self.outside_cavity[box] = inner
        self._paint_wall_muscles()
        self._cover(box, inner, fat + 6 * self.noise[5][box] + 7 * self.noise[24][box])
        self._organ("psoas", self._textured(muscle, 4, 3), halo=1.5)

    def _paint_table(self) -> None:
        """The curved top of the table: two thin shells of carbon fibre, with foam between."""
        top = self.anatomy.back - 2
        box = self.grid.box((-1e3, -1e3, -1e3), (1e3, 1e3, top + 25))
        _, x, y = self.grid.within(box).open()
        below = top - y + (x / 45) ** 2
        inside = np.maximum(np.abs(below - 12) - 12, np.abs(x) - 205)
        self._cover(box, inside, -930)
        self._cover(box, np.abs(inside) - 1.2, 400)

    def _paint_wall_muscles(self) -> None:
        """Muscle in layers, with fat between them and, in the back, within them."""
        fat, muscle = self.values["fat"], self.values["muscle"]
        box, outer = self.anatomy.distance("muscle", self.grid)
        wall = np.nonzero((outer < self.edge) & (self.outside_cavity[box] > -self.edge))
        at = tuple(i + part.start for i, part in zip(wall, box, strict=True))
        z, x, y = (axis[i] for axis, i in zip(self.grid.axes, at, strict=True))
        outer, inner = outer[wall], self.outside_cavity[at]
        lumbar = np.clip((10 - z) / 25, 0, 1)
        behind = np.clip((-18 - y) / 10, 0, 1)
        depth = inner / np.maximum(inner - outer, 1) + 0.04 * self.noise[24][at]
        sheets = _ridge(depth - 0.35, 0.07) + _ridge(depth - 0.68, 0.07)
        fatty = 0.5 * sheets * lumbar * (np.abs(x) > 60) * (1 - behind)
        fatty += 0.9 * _ridge(inner - 9.5 - self.noise[24][at], 2) * (1 - lumbar)
        fatty += 0.6 * _ridge(x, 2.5) * (y > 60) * (z < 70)
        fatty += behind * (self._septa(at, 9, 0.15) + self._septa(at, 24, 0.12))
        flesh = muscle + 4 * self.noise[5][at] + np.minimum(fatty, 1) * (fat + 15 - muscle)
        coverage = _coverage(outer, self.edge)
        self.hu[at] += coverage * (flesh - self.hu[at])
        self._organ("erector", self._fibrous(muscle), halo=1.2)

    def _fibrous(self, muscle: float):
        """Muscle with sheets of fat."""

        def hu(box: Box, distance: np.ndarray) -> np.ndarray:
            sheets = np.minimum(self._septa(box, 9, 0.13) + self._septa(box, 24, 0.08), 1)
            return muscle + 4 * self.noise[5][box] - 100 * sheets

        return hu

    def _paint_ribs(self) -> None:
        at = np.nonzero(np.abs(self.outside_cavity - RIB_DEPTH) < RIB_RADIUS + self.edge)
        z, x, y = (axis[i] for axis, i in zip(self.grid.axes, at, strict=True))
        distance, along = rib_distance(
            z, x, y, self.outside_cavity[at], self.anatomy.width / 2, self.anatomy.front
        )
        marrow, cortex = self.values["marrow"], self.values["cortex"]
        bone = marrow + np.clip(distance + 2.2, 0, 1) * (cortex - marrow)
        cartilage = 100 + 50 * np.maximum(self.noise[9][at], 0)
        bone += np.clip((along - 0.72) * 40, 0, 1) * (cartilage - bone)
        coverage = _coverage(distance, self.edge)
        self.hu[at] += coverage * (bone - self.hu[at])
        self._organ("sternum", self._textured(marrow, 30, 10))

    def _paint_bowel(self) -> None:
        for group in range(BOWEL_GROUPS):
            gut = self._gut(wall=2.5, content=50, gas=-0.5, mottle=10)
            self._organ(f"bowel {group}", gut, halo=1.8)
        self._organ("duodenum", self._gut(wall=2.5, content=35, gas=-0.5, mottle=8))
        self._organ("colon", self._gut(wall=2.0, content=20, gas=0.75, mottle=60), halo=1.0)
        self._tubes("mesenteric", self.values["portal"])

    def _gut(self, wall: float, content: float, gas: float, mottle: float):
        """Enhancing wall, mottled content, and gas in the upper part of some loops."""

        def hu(box: Box, distance: np.ndarray) -> np.ndarray:
            _, _, y = self.grid.within(box).open()
            inside = content + mottle * self.noise[9][box] + 0.4 * mottle * self.noise[5][box]
            airy = self.noise[24][box] + 0.35 * self.noise[9][box] + (y - 100) / 90 + gas - 1.3
            air = np.clip(airy * 8, 0, 1)
            inside = inside + air * (-950 - inside)
            lumen = _coverage(distance + wall, self.edge)
            return 95 + lumen * (inside - 95)

        return hu

    def _paint_organs(self) -> None:
        values = self.values
        self._organ("pancreas", self._textured(95, 8, 16), halo=1.5)
        self._organ("stomach", self._stomach, halo=1.5)
        self._organ("kidneys", self._kidney, halo=2)
        self._organ("sinus", self._textured(values["fat"] + 40, 25, 35))
        self._tubes("renal veins", values["cava"] + 15)
        self._organ("spleen", self._textured(values["spleen"], 3, 2), halo=1.5)
        self._tubes("crura", values["muscle"])
        self._tubes("adrenals", 75)

    def _kidney(self, box: Box, distance: np.ndarray) -> np.ndarray:
        cortex, medulla = self.values["kidney"], self.values["medulla"]
        pyramids = np.clip((-distance - 6) / 3, 0, 1) * np.clip(self.noise[9][box] * 2 + 0.7, 0, 1)
        return cortex + pyramids * (medulla - cortex) + 5 * self.noise[5][box]

    def _stomach(self, box: Box, distance: np.ndarray) -> np.ndarray:
        """A wall with folds around fluid, and gas above the fluid's level."""
        _, _, y = self.grid.within(box).open()
        fluid = 25 + 4 * self.noise[5][box] + 5 * self.noise[24][box]
        air = _coverage(self.anatomy.gas_level - y, self.edge)
        inside = fluid + air * (-980 - fluid)
        wall = 4 + 0.8 * self.noise[9][box]
        lumen = _coverage(distance + wall, self.edge)
        return 88 + lumen * (inside - 88)

    def _paint_liver(self, lesions: list[Lesion]) -> None:
        values = self.values
        box, distance = self.anatomy.distance("liver", self.grid)
        part = self.grid.within(box)
        parenchyma = values["liver"] + 2.5 * self.noise[5][box] + 2 * self.noise[24][box]
        for name in ("hepatic", "portal"):
            vessel = self.anatomy.tubes[name].distance(part, 2.0)
            coverage = _coverage(vessel, self.edge)
            parenchyma += coverage * (values[name] - parenchyma)
        tumor = np.zeros(part.shape, np.float32)
        for lesion in lesions:
            self._paint_lesion(lesion, box, parenchyma, tumor)
        self._cover(box, distance - 0.8, values["fat"])
        coverage = self._cover(box, distance, parenchyma)
        self.liver = np.zeros(self.grid.shape, np.float32)
        self.liver[box] = coverage
        self.tumor[box] = tumor
        self._organ("gallbladder", self._gallbladder)
        self._tubes("portal trunk", values["portal"])

    def _gallbladder(self, box: Box, distance: np.ndarray) -> np.ndarray:
        lumen = _coverage(distance + 1.5, self.edge)
        return 70 + lumen * (self.values["bile"] - 70)

    def _paint_lesion(
        self, lesion: Lesion, liver_box: Box, parenchyma: np.ndarray, tumor: np.ndarray
    ) -> None:
        box, distance = lesion.distance(self.grid.within(liver_box))
        if not distance.size:
            return
        border = np.clip(1 + distance / (0.25 * lesion.diameter), 0, 1)
        hu = lesion.hu + border * (lesion.rim_hu - lesion.hu)
        if lesion.is_tumor:
            hu += 5 * self.noise[9][liver_box][box]
            mask = tumor[box]
            np.maximum(mask, _coverage(distance, self.edge), out=mask)
        coverage = _coverage(distance, max(self.edge, lesion.softness))
        region = parenchyma[box]
        region += coverage * (hu - region)

    def _paint_great_vessels(self) -> None:
        self._tubes("cava", self.values["cava"])
        self._tubes("aorta", self.values["aorta"], wall=1.2)

    def _paint_chest(self) -> None:
        values = self.values
        box, lungs = self.anatomy.distance("lungs", self.grid)
        if not lungs.size:
            return
        part = self.grid.within(box)
        air = values["lung"] + 15 * self.noise[9][box]
        vessel = self.anatomy.tubes["lung vessels"].distance(part, 2.0)
        air += _coverage(vessel, self.edge) * (40 - air)
        # The diaphragm and the pleura line the lungs.
        self._cover(box, np.maximum(lungs - 1.6, self.outside_cavity[box]), values["muscle"])
        self._cover(box, lungs, air)
        self._organ("heart", self._heart)

    def _heart(self, box: Box, distance: np.ndarray) -> np.ndarray:
        """Blood in two halves, the left behind a thick wall, with the septum between."""
        z, x, y = self.grid.within(box).open()
        to_left = (self.anatomy.heart[0] - x) + 0.6 * (y - self.anatomy.heart[1])
        wall = np.where(to_left > 0, 11, 4) + 2 * self.noise[24][box]
        blood = np.clip((-distance - wall) / 2, 0, 1) * np.clip((np.abs(to_left) - 6) / 2, 0, 1)
        return 105 + blood * (self.values["aorta"] + 5 - 105)

    def _paint_spine(self) -> None:
        box = self.grid.box((-1e3, -46, -80), (1e3, 46, 30))
        parts = spine_distances(self.grid.within(box), self.anatomy.disc_period)
        marrow, cortex = self.values["marrow"], self.values["cortex"]
        self._cover(box, parts["canal"], 35)
        self._cover(box, parts["disc"], 95)
        shell = np.clip((parts["bone"] + 2) / 1.2, 0, 1)
        spongy = marrow + 30 * self.noise[5][box]
        self._cover(box, parts["bone"], spongy + shell * (cortex - spongy))
