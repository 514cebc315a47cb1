"""The `liverutils` command. Exit status: 0 done, 1 input that cannot be used, 2 wrong usage."""

import argparse
import json
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from liverutils.errors import BadInput

VIEWS = ("axial", "coronal", "sagittal")
LAYOUTS = (
    *("phantom", "ircadb", "lits", "msd", "lits-png", "chaos", "crlm", "totalsegmentator"),
    "folder",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        return options.command(options) or 0
    except BadInput as error:
        print(f"liverutils: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print(f"liverutils: {place}{error.strerror or error}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("liverutils: stopped; nothing half-written was left.", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("liverutils", description="Tools of the liver CT course.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    phantom = commands.add_parser("phantom", help="make a synthetic CT cohort")
    phantom.add_argument("--cohort", default="phantom", help="which one (default: phantom)")
    phantom.add_argument(
        "--layout",
        choices=LAYOUTS,
        default="phantom",
        help="the data set whose files it resembles (default: phantom, NIfTI with a table)",
    )
    phantom.add_argument("--out", type=Path, required=True, help="folder to write")
    phantom.add_argument("--seed", type=int, help="another, for other patients (NIfTI only)")
    phantom.add_argument("--patients", type=_positive, help="only the first so many patients")
    _add_workers(phantom)
    phantom.set_defaults(command=_phantom)

    fetch = commands.add_parser("fetch", help="download a data set")
    fetch.add_argument("source", help="ircadb, msd or chaos; of others it says where to get them")
    fetch.add_argument("--out", type=Path, required=True, help="folder to download to")
    fetch.add_argument(
        "--accept-licence", action="store_true", help="you accept the data set's licence"
    )
    fetch.set_defaults(command=_fetch)

    prepare = commands.add_parser(
        "prepare",
        help="cut a data set into a slice store",
        description="Cut a data set into a slice store. A scan that cannot be read stops it;"
        " whether what is read makes sense, `liverutils verify` tells, so run that first. The"
        " source `folder` takes NAME.nii.gz with NAME_mask (_seg, _gt, .seg), NAME_liver and"
        " NAME_tumor, images/ with labels/, NAME/ct with NAME/mask, nnU-Net's imagesTr/NAME_0000"
        " with labelsTr/NAME, TotalSegmentator's NAME/ct with NAME/segmentations/liver, and"
        " folders or zips of a DICOM series each; data/README.md has the table.",
    )
    _add_source(prepare)
    prepare.add_argument("--out", type=Path, required=True, help="folder of the store")
    prepare.add_argument("--size", type=_positive, default=256, help="pixels a side (default: 256)")
    prepare.add_argument("--view", choices=VIEWS, default="axial", help="default: axial")
    prepare.add_argument("--fraction", type=_share, default=1.0, help="share of the patients, 0…1")
    prepare.add_argument("--limit", type=_positive, help="at most so many scans")
    prepare.add_argument(
        "--keep-going", action="store_true", help="leave out bad cases and exit with status 1"
    )
    _add_workers(prepare)
    prepare.set_defaults(command=_prepare)

    verify = commands.add_parser(
        "verify",
        help="list what is wrong with a data set",
        description="Read every scan and list what is wrong with it. The exit status is 1 if any"
        " finding is an error; warnings do not count.",
    )
    _add_source(verify)
    _add_workers(verify)
    verify.set_defaults(command=_verify)

    predict = commands.add_parser(
        "predict",
        help="segment a scan with the weights of a run",
        description="Segment a new scan. The mask lies on the scan's own voxels: 0 background,"
        " 1 liver, 2 tumour. For research and teaching, not for treating patients.",
    )
    predict.add_argument("scan", type=Path, help="NIfTI file, or folder or archive of a CT series")
    predict.add_argument("--weights", type=Path, required=True, help="logs/RUN/RUN.safetensors")
    predict.add_argument("--out", type=_nifti, required=True, help="the mask, .nii or .nii.gz")
    predict.add_argument(
        "--tumor-weights", type=Path, help="a second network, which looks inside the liver found"
    )
    predict.add_argument("--view", choices=VIEWS, help="default: all that the weights know")
    predict.add_argument(
        "--augment", action="store_true", help="average over turns and zooms, in 5 times the time"
    )
    predict.add_argument("--dicom-seg", type=Path, help="write a DICOM SEG too (for a CT series)")
    predict.add_argument(
        "--probabilities",
        type=_nifti,
        help="write the probabilities of liver (with its tumours) and tumour too, as two volumes",
    )
    predict.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
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
    _add_workers(evaluate)
    evaluate.set_defaults(command=_evaluate)

    measure = commands.add_parser(
        "measure",
        help="diameters, volumes and RECIST sum of a mask",
        description="Measure every tumour of a mask (0 background, 1 liver, 2 tumour): its longest"
        " axial diameter, the short axis across it and its volume; the liver's volume; and the sum"
        " of at most two target lesions as RECIST 1.1 defines them. Not for treating patients.",
    )
    measure.add_argument("mask", type=Path, help="NIfTI file or DICOM SEG")
    measure.add_argument("--json", action="store_true", help="print JSON instead of a table")
    measure.set_defaults(command=_measure)

    bench = commands.add_parser(
        "bench",
        help="measure speed, inside the course's repository",
        description="Measure speed and write logs/bench/. Needs the course's repository.",
    )
    bench.add_argument("names", nargs="*", metavar="NAME", help="default: all but those on demand")
    bench.set_defaults(command=_bench)
    return parser


def _add_source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        help="ircadb, lits, msd, lits-png, chaos, crlm, totalsegmentator, folder, phantom, …",
    )
    parser.add_argument("raw", type=Path, help="its files: a folder or an archive")
    parser.add_argument(
        "--copy-geometry",
        action="store_true",
        help="masks in NIfTI lie on their image voxel for voxel, whatever geometry they tell",
    )


def _add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=_positive, help="processes (default: one per core)")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _nifti(text: str) -> Path:
    if not text.endswith((".nii", ".nii.gz")):
        raise argparse.ArgumentTypeError(f"{text} does not end in .nii or .nii.gz")
    return Path(text)


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} does not lie above 0 and up to 1")
    return value


# Each command imports what it needs, so that `--help` answers at once.


def _phantom(options: argparse.Namespace) -> None:
    from liverutils.phantom import make_cohort, write_cohort

    make = make_cohort if options.layout == "phantom" else partial(write_cohort, options.layout)
    if options.seed is not None:
        if options.layout != "phantom":
            raise BadInput(
                "Leave out --seed or --layout: other layouts have the cohort's own seed."
            )
        make = partial(make_cohort, seed=options.seed)
    make(options.cohort, options.out, workers=options.workers, patients=options.patients)
    print(f"The cohort lies in {options.out}.")


def _fetch(options: argparse.Namespace) -> None:
    from liverutils.sources import describe, fetch

    print(describe(options.source), flush=True)
    for path in fetch(options.source, options.out, accept_licence=options.accept_licence):
        print(f"{path} is there; go on with `liverutils verify {options.source} {path}`.")


def _prepare(options: argparse.Namespace) -> int:
    from liverutils.slices import build_store
    from liverutils.sources import find_cases

    cases = find_cases(options.source, options.raw, copy_geometry=options.copy_geometry)
    n_kept = max(1, round(options.fraction * len(cases)))
    store = build_store(
        cases[: min(n_kept, options.limit or n_kept)],
        options.out,
        view=options.view,
        size=options.size,
        workers=options.workers,
        keep_going=options.keep_going,
        raw=options.raw,
    )
    print(f"{len(store)} slices of {len(store.patients)} patients in {options.out}.")
    skipped = store.info["skipped"]
    if skipped:
        print(f"\n{len(skipped)} of {len(skipped) + len(store.info['volumes'])} scans left out:")
        _print_rows([(case["patient"], case["volume"], case["fault"]) for case in skipped])
        _print_sentences(case["skipped"] for case in skipped)
    return 1 if skipped else 0


def _verify(options: argparse.Namespace) -> int:
    from liverutils.scans import verify_cases
    from liverutils.sources import find_cases

    cases = find_cases(options.source, options.raw, copy_geometry=options.copy_geometry)
    table = verify_cases(cases, workers=options.workers, progress=sys.stderr.isatty())
    rows = [
        (case.patient, case.volume, _times(case.shape), _times(case.spacing_mm, ".2f"),
         case.severity, case.faults.replace(",", ""))
        for case in table.itertuples()
    ]  # fmt: skip
    _print_rows([("patient", "volume", "voxels", "mm", "verdict", "findings"), *rows])
    _print_sentences(sentence for sentences in table.findings for sentence in sentences)
    errors, warnings = ((table.severity == severity).sum() for severity in ("error", "warning"))
    print(f"\n{len(table)} scans: {errors} with errors, {warnings} with warnings only.")
    return 1 if errors else 0


def _predict(options: argparse.Namespace) -> None:
    from liverutils.prediction import predict_scan

    prediction = predict_scan(
        options.scan,
        options.weights,
        options.out,
        tumor_weights=options.tumor_weights,
        view=options.view,
        augment=options.augment,
        dicom_seg=options.dicom_seg,
        probabilities=options.probabilities,
        device=options.device,
        progress=sys.stderr.isatty(),
    )
    _print_sentences(prediction.remarks)
    print(f"{prediction.describe()} The mask is {options.out}.")


def _evaluate(options: argparse.Namespace) -> None:
    from liverutils.files import check_writable, written_aside
    from liverutils.scoring import evaluate_masks, summarise

    check_writable(options.out)
    scores = evaluate_masks(
        options.predicted, options.true, workers=options.workers, progress=sys.stderr.isatty()
    )
    with written_aside(options.out) as aside:
        scores.to_csv(aside, index=False)
    head = ("structure", "score", "mean", "95 % interval", "infinite", "unknown")
    rows = [
        (row.structure, row.score, f"{row.mean:.3f}", f"{row.low:.3f} to {row.high:.3f}",
         str(row.infinite), str(row.unknown))
        for row in summarise(scores).itertuples()
    ]  # fmt: skip
    _print_rows([head, *rows])
    print(f"\n{len(scores)} scans, one row each in {options.out}.")


def _measure(options: argparse.Namespace) -> None:
    from liverutils.scoring import measure_mask

    found = measure_mask(options.mask)
    if options.json:
        print(json.dumps({"mask": str(options.mask), **found.as_dict()}, indent=2))
        return
    _print_rows(found.as_rows())
    print(f"\n{found.describe()}")


def _bench(options: argparse.Namespace) -> int:
    from liverutils.course import repository_root

    command = [sys.executable, "-m", "tests.benchmarks", *options.names]
    return subprocess.run(command, cwd=repository_root(), check=False).returncode


def _times(sizes: Sequence[float] | None, form: str = "") -> str:
    return " x ".join(format(size, form) for size in sizes) if sizes else "unknown"


def _print_rows(rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns that are as wide as they must be."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(map(str.ljust, row, widths)).rstrip())


def _print_sentences(sentences: Iterable[str]) -> None:
    """Print sentences one below the other, folded at the width of the terminal."""
    fold = textwrap.TextWrapper(
        shutil.get_terminal_size().columns,
        initial_indent="- ",
        subsequent_indent="  ",
        # Paths stay whole.
        break_long_words=False,
        break_on_hyphens=False,
    )
    for sentence in sentences:
        print(fold.fill(sentence))


if __name__ == "__main__":
    sys.exit(main())
