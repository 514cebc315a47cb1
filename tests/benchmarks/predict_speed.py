"""Segmenting a new scan of 512×512×400 voxels: against the bare network, and in memory.

python -m tests.benchmarks.predict_speed [WEIGHTS of a run, by default the U-Net's]

The bare network answers the same slices, cut and windowed beforehand, in the same batches: as
PyTorch builds it, and in the number format and memory layout that we choose too. Ours has to cut
the slices and to bring the answers back to the scan's grid.
"""

import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from liverutils.course import resolve
from liverutils.models import Settings, load_weights, save_weights
from liverutils.phantom import COHORTS, make_patient
from liverutils.prediction import load_network, segment
from liverutils.prediction.network import class_probabilities, cut_batches
from liverutils.scans import Case, write_nifti
from liverutils.slices import Resampler, apply_window
from liverutils.sources import read_scan
from tests.benchmarks.common import alternate, report

SLICES = 400

# Not getrusage: its peak counts what the parent held when it forked.
PREDICT_AND_PRINT_MEMORY = """
import sys
from pathlib import Path
from liverutils.prediction.scan_to_file import predict_scan
from tests.benchmarks._fresh import memory_mb

before = memory_mb()["VmHWM"]
predict_scan(*sys.argv[1:], progress=False)
print(before, memory_mb()["VmHWM"])
"""


def main(weights: str = "logs/UNet/UNet.safetensors") -> None:
    """Measure at the size of the weights, and at twice that: a U-Net takes any."""
    with tempfile.TemporaryDirectory() as folder:
        scan = write_scan(Path(folder))
        case = read_scan(scan)
        paths = [resolve(weights), twice_the_size(resolve(weights), Path(folder))]
        report("predict_speed", [row for path in paths for row in compare(path, case)])
        report("predict_memory", [measure_memory(path, scan) for path in paths])


def write_scan(folder: Path) -> Path:
    """Write a phantom patient of 512×512 voxels a slice, mirrored at its end to be long enough."""
    fine = replace(COHORTS["phantom"], matrix=512, slice_mm=(1.6,), subslice_mm=1.6)
    case = make_patient(fine, 0)
    missing = max(0, SLICES - case.image.shape[2])
    image = np.pad(case.image, ((0, 0), (0, 0), (0, missing)), mode="symmetric")
    write_nifti(folder / "scan.nii.gz", image[..., :SLICES], case.affine)
    return folder / "scan.nii.gz"


def twice_the_size(weights: Path, folder: Path) -> Path:
    """Write the same weights as if trained on pictures of twice the size."""
    model, facts = load_weights(weights)
    facts["data"]["size"] *= 2
    save_weights(model, folder / "twice.safetensors", facts)
    return folder / "twice.safetensors"


def compare(weights: Path, case: Case) -> list[dict]:
    """Time `segment` against the bare network under PyTorch's settings and under ours."""
    network = load_network(weights)
    resampler = Resampler.for_scan(case.image.shape, case.spacing, "axial", network.data["size"])
    raw = [batch for (batch,) in cut_batches(network, case, "axial", resampler)]
    images = [apply_window(batch, network.data["window"]) for batch in raw]
    rows = []
    for name, settings in (("PyTorch's", Settings()), ("ours", network.settings)):
        bare = settings.lay_out(load_weights(weights)[0])

        def answer(bare=bare, settings=settings) -> None:
            for batch in images:
                class_probabilities(bare, batch, settings)

        timed = alternate(lambda: segment(network, case), answer, pairs=3)
        facts = {
            "size": network.data["size"],
            "slices": sum(map(len, images)),
            "settings": name,
            "threads": torch.get_num_threads(),
        }
        rows.append(facts | timed)
    return rows


def measure_memory(weights: Path, scan: Path) -> dict:
    """Predict in a process of its own, from file to file; return what that process needs."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", PREDICT_AND_PRINT_MEMORY]
        output = subprocess.check_output(
            [*command, scan, weights, Path(folder, "mask.nii.gz")], text=True
        )
    before, peak = map(float, output.split())
    volume = 512 * 512 * SLICES * 2 / 2**20
    return {
        "size": load_weights(weights)[1]["data"]["size"],
        "volume_mb": volume,
        "imports_mb": before,
        "peak_mb": peak,
        "grown_over_volume": (peak - before) / volume,
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
