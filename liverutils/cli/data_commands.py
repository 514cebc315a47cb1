"""Commands for data sets: phantom, fetch, prepare, verify, export."""

import argparse
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from liverutils.cli.options import (
    VIEWS,
    Later,
    add_quiet,
    add_source,
    add_workers,
    positive,
    share,
    wants_bars,
)
from liverutils.cli.output import print_json, print_rows, print_sentences

if TYPE_CHECKING:
    from liverutils.sources import CaseFiles


def _layouts() -> Collection[str]:
    from liverutils.phantom import LAYOUTS

    return LAYOUTS


def add_to(commands: argparse._SubParsersAction) -> None:
    """Add the commands for data sets. Each imports what it needs when it runs."""
    phantom = commands.add_parser("phantom", help="make a synthetic CT cohort")
    phantom.add_argument("--cohort", default="phantom", help="which one (default: phantom)")
    phantom.add_argument(
        "--layout",
        choices=Later(_layouts),
        metavar="LAYOUT",
        default="phantom",
        help="the data set whose files it resembles: %(choices)s (default: phantom, NIfTI with"
        " tables)",
    )
    phantom.add_argument("--out", type=Path, required=True, help="folder to write")
    phantom.add_argument("--seed", type=int, help="another, for other patients")
    phantom.add_argument("--patients", type=positive, help="only the first so many patients")
    add_workers(phantom)
    add_quiet(phantom)
    phantom.set_defaults(command=_phantom)

    fetch = commands.add_parser("fetch", help="download a data set")
    fetch.add_argument("source", help="ircadb, msd or chaos; of others it says where to get them")
    fetch.add_argument("--out", type=Path, required=True, help="folder to download to")
    fetch.add_argument(
        "--accept-licence", action="store_true", help="you accept the data set's licence"
    )
    add_quiet(fetch)
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
    add_source(prepare)
    prepare.add_argument("--out", type=Path, required=True, help="folder of the store")
    prepare.add_argument("--size", type=positive, default=256, help="pixels a side (default: 256)")
    prepare.add_argument("--view", choices=VIEWS, default="axial", help="default: axial")
    prepare.add_argument("--fraction", type=share, default=1.0, help="share of the patients, 0…1")
    prepare.add_argument("--limit", type=positive, help="at most so many scans")
    prepare.add_argument(
        "--keep-going", action="store_true", help="leave out bad cases and exit with status 1"
    )
    add_workers(prepare)
    add_quiet(prepare)
    prepare.set_defaults(command=_prepare)

    verify = commands.add_parser(
        "verify",
        help="list what is wrong with a data set",
        description="Read every scan and list what is wrong with it. The exit status is 1 if any"
        " finding is an error; warnings do not count.",
    )
    add_source(verify)
    add_workers(verify)
    add_quiet(verify, json=True)
    verify.set_defaults(command=_verify)

    export = commands.add_parser(
        "export",
        help="write a data set in another program's format",
        description="Write a data set for nnU-Net: imagesTr and labelsTr to learn from, imagesTs of"
        " the held-out patients, splits_final.json with the course's split. The labels of those"
        " held out lie in labelsTs, for `liverutils evaluate`. Nothing that is there is replaced.",
    )
    export.add_argument("format", choices=("nnunet",), help="nnU-Net's raw format, version 2")
    add_source(export)
    export.add_argument(
        "--out", type=Path, required=True, help="new folder, such as nnUNet_raw/Dataset501_Liver"
    )
    export.add_argument("--seed", type=int, default=0, help="of the split (default: 0)")
    add_workers(export)
    add_quiet(export)
    export.set_defaults(command=_export)


def _phantom(options: argparse.Namespace) -> None:
    from liverutils.phantom import make_cohort

    make_cohort(
        options.cohort,
        options.out,
        workers=options.workers,
        patients=options.patients,
        layout=options.layout,
        seed=options.seed,
        progress=wants_bars(options),
    )
    print(f"The cohort lies in {options.out}.")


def _fetch(options: argparse.Namespace) -> None:
    from liverutils.sources import describe, fetch

    print(describe(options.source), flush=True)
    for path in fetch(
        options.source,
        options.out,
        accept_licence=options.accept_licence,
        progress=wants_bars(options),
    ):
        print(f"{path} is there; go on with `liverutils verify {options.source} {path}`.")


def _cases(options: argparse.Namespace) -> "list[CaseFiles]":
    from liverutils.sources import find_cases

    return find_cases(options.source, options.raw, copy_geometry=options.copy_geometry)


def _prepare(options: argparse.Namespace) -> int:
    from liverutils.slices import build_store

    cases = _cases(options)
    n_kept = max(1, round(options.fraction * len(cases)))
    store = build_store(
        cases[: min(n_kept, options.limit or n_kept)],
        options.out,
        view=options.view,
        size=options.size,
        workers=options.workers,
        keep_going=options.keep_going,
        raw=options.raw,
        progress=wants_bars(options),
    )
    print(f"{len(store)} slices of {len(store.patients)} patients in {options.out}.")
    skipped = store.info.skipped
    if skipped:
        print(f"\n{len(skipped)} of {len(skipped) + len(store.info.volumes)} scans left out:")
        print_rows([(scan.patient, scan.volume, scan.fault) for scan in skipped])
        print_sentences(scan.skipped for scan in skipped)
    return 1 if skipped else 0


def _verify(options: argparse.Namespace) -> int:
    from liverutils.scans import verify_cases

    cases = _cases(options)
    table = verify_cases(cases, workers=options.workers, progress=wants_bars(options))
    errors, warnings = ((table.severity == severity).sum() for severity in ("error", "warning"))
    if options.json:
        print_json({"scans": table.to_dict("records"), "errors": errors, "warnings": warnings})
        return 1 if errors else 0
    rows = [
        (case.patient, case.volume, _times(case.shape), _times(case.spacing_mm, ".2f"),
         case.severity, case.faults.replace(",", ""))
        for case in table.itertuples()
    ]  # fmt: skip
    print_rows([("patient", "volume", "voxels", "mm", "verdict", "findings"), *rows])
    print_sentences(sentence for sentences in table.findings for sentence in sentences)
    print(f"\n{len(table)} scans: {errors} with errors, {warnings} with warnings only.")
    return 1 if errors else 0


def _export(options: argparse.Namespace) -> None:
    from liverutils.slices import export_nnunet

    split = export_nnunet(
        _cases(options),
        options.out,
        seed=options.seed,
        workers=options.workers,
        raw=options.raw,
        progress=wants_bars(options),
    )
    parts = (len(part) for part in (split.train, split.valid, split.test))
    print("{} patients to train on, {} to validate, {} held out.".format(*parts))
    print(
        f"nnU-Net's planner takes it over: nnUNetv2_plan_and_preprocess -d {options.out.name[7:10]}"
    )


def _times(sizes: Sequence[float] | None, form: str = "") -> str:
    return " x ".join(format(size, form) for size in sizes) if sizes else "unknown"
