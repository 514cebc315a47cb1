"""The `liverutils` command. Exit status: 0 done, 1 input that cannot be used, 2 wrong usage."""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from liverutils.errors import BadInput

VIEWS = ("axial", "coronal", "sagittal")
LAYOUTS = ("phantom", "ircadb", "lits", "msd", "lits-png", "chaos", "folder")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        return options.command(options) or 0
    except BadInput as error:
        print(f"liverutils: {error}", file=sys.stderr)
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

    prepare = commands.add_parser("prepare", help="cut a data set into a slice store")
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

    verify = commands.add_parser("verify", help="list what is wrong with a data set")
    _add_source(verify)
    verify.set_defaults(command=_verify)
    return parser


def _add_source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help="ircadb, lits, lits-png, folder, phantom, …")
    parser.add_argument("raw", type=Path, help="its files: a folder or an archive")


def _add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=_positive, help="processes (default: one per core)")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} does not lie above 0 and up to 1")
    return value


# Each command imports what it needs, so that `--help` answers at once.


def _phantom(options: argparse.Namespace) -> None:
    from liverutils.datasets.layouts import write_cohort
    from liverutils.datasets.phantom import make_cohort

    make = make_cohort if options.layout == "phantom" else partial(write_cohort, options.layout)
    make(options.cohort, options.out, workers=options.workers, patients=options.patients)
    print(f"The cohort lies in {options.out}.")


def _fetch(options: argparse.Namespace) -> None:
    from liverutils.datasets.fetch import describe, fetch

    print(describe(options.source), flush=True)
    for path in fetch(options.source, options.out, accept_licence=options.accept_licence):
        print(f"{path} is there; go on with `liverutils verify {options.source} {path}`.")


def _prepare(options: argparse.Namespace) -> int:
    from liverutils.datasets.sources import find_cases
    from liverutils.datasets.store import build_store

    cases = find_cases(options.source, options.raw)
    n_kept = max(1, round(options.fraction * len(cases)))
    store = build_store(
        cases[: min(n_kept, options.limit or n_kept)],
        options.out,
        view=options.view,
        size=options.size,
        workers=options.workers,
        keep_going=options.keep_going,
    )
    print(f"{len(store)} slices of {len(store.patients)} patients in {options.out}.")
    for case in store.info["skipped"]:
        print(f"left out: {case['volume']} ({case['fault']}): {case['skipped']}")
    return 1 if store.info["skipped"] else 0


def _verify(options: argparse.Namespace) -> int:
    from liverutils.datasets.sources import find_cases
    from liverutils.datasets.verify import verify_cases

    findings = verify_cases(find_cases(options.source, options.raw))
    print(findings.to_string(index=False))
    return 1 if (findings.severity == "error").any() else 0


if __name__ == "__main__":
    sys.exit(main())
