"""Commands for scans and their masks: predict, evaluate, measure."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from liverutils.cli.options import (
    VIEWS,
    add_quiet,
    add_workers,
    nifti,
    nifti_or_folder,
    wants_bars,
)
from liverutils.cli.output import print_json, print_rows, print_sentences, warn
from liverutils.errors import BadInput

# Both have seen phantoms only, so that nobody's licence or privacy comes with them: one knows all
# kinds of scanners and trunks, the other looks closely enough for lesions.
DEFAULT_RUN, DEFAULT_TUMOR_RUN = "Transfer", "UNet"


def add_to(commands: argparse._SubParsersAction) -> None:
    """Add the commands for scans. Each imports what it needs when it runs."""
    predict = commands.add_parser(
        "predict",
        help="segment a scan, or a folder of scans, with the weights of a run",
        description="Segment new scans. A mask lies on the scan's own voxels: 0 background,"
        " 1 liver, 2 tumour. With a folder as --out, all scans below SCAN are segmented, NIfTI"
        " files and DICOM series, as the source `folder` finds them; a scan that cannot be used"
        " does not stop the others, and the exit status is 1 if there was one. For research and"
        " teaching, not for treating patients.",
    )
    predict.add_argument(
        "scan",
        type=Path,
        help="NIfTI file, or folder or archive of a CT series; or a folder of all these",
    )
    predict.add_argument(
        "--weights",
        type=Path,
        help=f"logs/RUN/RUN.safetensors; default: those of {DEFAULT_RUN}, which saw phantoms only",
    )
    predict.add_argument(
        "--out",
        type=nifti_or_folder,
        help="the mask, .nii or .nii.gz; or a folder for the masks of all scans, with"
        " predictions.json and predictions.csv; default: NAME_mask.nii.gz here",
    )
    predict.add_argument(
        "--continue",
        dest="only_missing",
        action="store_true",
        help="leave the scans alone whose masks in the folder were made by the same weights",
    )
    predict.add_argument(
        "--tumor-weights",
        type=Path,
        help="a second network, whose tumours count inside the liver found; default: those of"
        f" {DEFAULT_TUMOR_RUN} where --weights are the default too",
    )
    predict.add_argument("--view", choices=VIEWS, help="default: all that the weights know")
    predict.add_argument(
        "--augment", action="store_true", help="average over turns and zooms, in 5 times the time"
    )
    predict.add_argument(
        "--no-doubt",
        dest="look_again",
        action="store_false",
        help="do not look a second time at some slices to tell how far the mask can be trusted",
    )
    predict.add_argument("--dicom-seg", type=Path, help="write a DICOM SEG too (for a CT series)")
    predict.add_argument(
        "--probabilities",
        type=nifti,
        help="write the probabilities of liver (with its tumours) and tumour too, as two volumes",
    )
    predict.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    add_quiet(predict, json=True)
    predict.set_defaults(command=_predict)

    evaluate = commands.add_parser(
        "evaluate",
        help="score masks from anywhere against the true ones",
        description="Score NIfTI masks (0 background, 1 liver, 2 tumour) against the true ones of"
        " the same names. Nothing is resampled: masks on other grids are an error.",
    )
    evaluate.add_argument("--predicted", type=Path, required=True, help="folder of masks")
    evaluate.add_argument("--true", type=Path, required=True, help="folder of the true masks")
    evaluate.add_argument("--out", type=Path, required=True, help="CSV, one row per scan")
    add_workers(evaluate)
    add_quiet(evaluate, json=True)
    evaluate.set_defaults(command=_evaluate)

    measure = commands.add_parser(
        "measure",
        help="diameters, volumes and RECIST sum of a mask",
        description="Measure every tumour of a mask (0 background, 1 liver, 2 tumour): its longest"
        " axial diameter, the short axis across it and its volume; the liver's volume; and the sum"
        " of at most two target lesions as RECIST 1.1 defines them. Not for treating patients.",
    )
    measure.add_argument("mask", type=Path, help="NIfTI file or DICOM SEG")
    add_quiet(measure, json=True)
    measure.set_defaults(command=_measure)


def _predict(options: argparse.Namespace) -> int:
    if options.weights is None:
        options.weights = _default_weights(DEFAULT_RUN)
        options.tumor_weights = options.tumor_weights or _default_weights(DEFAULT_TUMOR_RUN)
    options.out = options.out or _default_out(options.scan)
    of_one = options.out.name.endswith((".nii", ".nii.gz"))
    if of_one and options.only_missing:
        raise BadInput(f"--continue goes with a folder as --out, and {options.out} is a file.")
    if not of_one and (options.dicom_seg or options.probabilities):
        raise BadInput(
            f"--dicom-seg and --probabilities name one file, and --out {options.out} is a folder:"
            " leave them out, or segment one scan at a time."
        )
    return _predict_one(options) if of_one else _predict_all(options)


def _default_weights(run: str) -> Path:
    from liverutils.course import resolve

    weights = resolve(f"logs/{run}/{run}.safetensors")
    if not weights.is_file():
        raise BadInput(
            f"There are no weights of the run {run} in {weights.parent}: name others with "
            "--weights (`liverutils list weights` shows which there are)."
        )
    return weights


def _default_out(scan: Path) -> Path:
    """A mask in the current folder, named after the scan; never one that is there already."""
    out = Path(f"{scan.resolve().name.split('.')[0]}_mask.nii.gz")
    if out.exists():
        raise BadInput(f"{out} is there already: name another file with --out, or move that one.")
    return out


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """What one scan and a folder of scans are segmented with alike."""
    names = ("tumor_weights", "view", "augment", "look_again", "device")
    return {name: getattr(options, name) for name in names} | {"progress": wants_bars(options)}


def _predict_one(options: argparse.Namespace) -> int:
    from liverutils.prediction import predict_scan

    prediction = predict_scan(
        options.scan,
        options.weights,
        options.out,
        dicom_seg=options.dicom_seg,
        probabilities=options.probabilities,
        **_settings(options),
    )
    if options.json:
        about = {"name": prediction.case.volume, "scan": options.scan, "status": "segmented"}
        print_json({"scans": [about | prediction.report()]})
    else:
        print_sentences(prediction.remarks)
        print(f"{prediction.describe()} The mask is {options.out}.")
        if prediction.agreement is not None:
            print(f"The network agrees with itself about this liver by {prediction.agreement:.3f}.")
    return 0


def _predict_all(options: argparse.Namespace) -> int:
    from liverutils.prediction import segment_scans
    from liverutils.sources import find_cases

    reports = segment_scans(
        find_cases("folder", options.scan),
        options.weights,
        options.out,
        only_missing=options.only_missing,
        reads=options.scan,
        **_settings(options),
    )
    failed = [report for report in reports if report["status"] == "failed"]
    if options.json:
        print_json({"scans": reports})
    else:
        _print_reports(reports, options.out)
    for report in failed:
        warn(f"{report['name']}: {report['sentence']}")
    return 1 if failed else 0


def _print_reports(reports: Sequence[dict[str, Any]], out: Path) -> None:
    head = ("scan", "status", "liver ml", "tumours", "tumour ml", "findings")
    print_rows([head, *map(_row, reports)])
    print_sentences(doubt for report in reports for doubt in report.get("doubts", ()))
    count = {
        status: sum(report["status"] == status for report in reports)
        for status in ("segmented", "kept", "failed")
    }
    told = ", ".join(f"{number} {status}" for status, number in count.items())
    print(f"\n{len(reports)} scans: {told}. The masks and predictions.json are in {out}.")


def _row(report: dict[str, Any]) -> tuple[str, ...]:
    if report["status"] == "failed":
        return (report["name"], "failed", "", "", "", report["fault"])
    doubts = f"{len(report['doubts'])} below" if report["doubts"] else ""
    return (
        report["name"],
        report["status"],
        _ml(report["liver_ml"], 0),
        str(report["tumors"]),
        _ml(report["tumor_ml"], 1),
        doubts,
    )


def _ml(volume: float | None, digits: int) -> str:
    return "unknown" if volume is None else f"{volume:.{digits}f}"


def _evaluate(options: argparse.Namespace) -> None:
    from liverutils.files import check_writable, written_aside
    from liverutils.scoring import evaluate_masks, summarise

    check_writable(options.out)
    if options.out.is_file() and not options.out.read_bytes()[:8].startswith(b"patient,"):
        raise BadInput(
            f"{options.out} is there already and is no table of scores; name another file.",
            fault="overwrites_output",
        )
    scores = evaluate_masks(
        options.predicted, options.true, workers=options.workers, progress=wants_bars(options)
    )
    with written_aside(options.out) as aside:
        scores.to_csv(aside, index=False)
    summary = summarise(scores)
    if options.json:
        tables = {"summary": summary, "scans": scores}
        print_json({name: table.to_dict("records") for name, table in tables.items()})
        return
    head = ("structure", "score", "mean", "95 % interval", "infinite", "unknown")
    rows = [
        (row.structure, row.score, _score(row.mean), _interval(row.low, row.high),
         str(row.infinite), str(row.unknown))
        for row in summary.itertuples()
    ]  # fmt: skip
    print_rows([head, *rows])
    print(f"\n{len(scores)} scans, one row each in {options.out}.")


def _score(value: float) -> str:
    return "unknown" if math.isnan(value) else f"{value:.3f}"


def _interval(low: float, high: float) -> str:
    """An interval; there is none over a single patient."""
    return "none" if math.isnan(low) else f"{low:.3f} to {high:.3f}"


def _measure(options: argparse.Namespace) -> None:
    from liverutils.scoring import measure_mask

    found = measure_mask(options.mask)
    if options.json:
        print_json({"mask": options.mask, **found.as_dict()})
        return
    print_rows(found.as_rows())
    print(f"\n{found.describe()}")
