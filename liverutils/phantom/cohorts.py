"""The cohorts of synthetic patients: how many, from which scanner, in which phase."""

from dataclasses import dataclass, field

# Peak of the noise power spectrum in 1/mm and in-plane blur (standard deviation, mm).
KERNELS = {
    "soft": (0.20, 0.85),
    "standard": (0.25, 0.65),
    "sharp": (0.30, 0.50),
    "edge": (0.34, 0.35),
}


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
        randomised: Whole trunks, bodies and scanners that vary beyond what is plausible, see
            `phantom.randomised`, which draws phase, field of view, kernel and noise itself.
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
    randomised: bool = False


COHORTS = {
    cohort.name: cohort
    for cohort in (
        Cohort("phantom", seed=1, patients=88),
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
            patients=40,
            slice_mm=(2.5,),
            phases={"late arterial": 1.0},
            kernels=("edge",),
            noise_sd=(20.0, 25.0),
            calibration_hu=8.0,
        ),
        # The cohort "phantom" with other patients, for what must be set on patients not trained on.
        Cohort("phantom-calibration", seed=11, patients=72),
        # Several hospitals: their scanners and phases together, a few as in "phantom-shifted".
        Cohort(
            "phantom-clinics",
            seed=12,
            patients=72,
            slice_mm=(2.5, 3.0, 4.0, 5.0),
            phases={
                "portal venous": 0.3,
                "early portal venous": 0.1,
                "late portal venous": 0.1,
                "late arterial": 0.5,
            },
            kernels=("soft", "standard", "sharp", "edge"),
            noise_sd=(10.0, 25.0),
        ),
        Cohort(
            "phantom-randomised",
            seed=7,
            patients=96,
            matrix=192,
            slice_mm=(1.5, 2.5, 4.0, 5.0, 8.0),
            subslice_mm=2.5,
            randomised=True,
        ),
    )
}
