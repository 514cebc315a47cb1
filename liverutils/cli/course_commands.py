"""Commands for the course itself: list, bench, completion."""

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from liverutils.cli.options import add_json
from liverutils.cli.output import print_json, print_rows
from liverutils.errors import BadInput

SHELLS = ("bash", "zsh", "tcsh")


def add_to(commands: argparse._SubParsersAction) -> None:
    """Add the commands for the course. Each imports what it needs when it runs."""
    lists = commands.add_parser(
        "list",
        help="list sources, runs, weights or faults",
        description="List the data sets that we know, the runs of the catalogue, the weights that"
        " are there (your own in runs/logs, the course's in logs), or the names of all faults.",
    )
    lists.add_argument("what", choices=tuple(LISTS))
    add_json(lists)
    lists.set_defaults(command=_list)

    bench = commands.add_parser(
        "bench",
        help="measure speed, inside the course's repository",
        description="Measure speed and write logs/bench/. Needs the course's repository.",
    )
    bench.add_argument("names", nargs="*", metavar="NAME", help="default: all but those on demand")
    bench.set_defaults(command=_bench)

    completion = commands.add_parser(
        "completion",
        help="print a shell's completion of this command",
        description="Print what completes this command in a shell. For bash: `liverutils completion"
        " bash > ~/.local/share/bash-completion/completions/liverutils`.",
    )
    completion.add_argument("shell", choices=SHELLS)
    completion.set_defaults(command=_completion)


def _list(options: argparse.Namespace) -> None:
    rows = LISTS[options.what]()
    if options.json:
        print_json(rows)
    elif rows:
        print_rows([tuple(rows[0]), *(tuple(map(str, row.values())) for row in rows)])
    else:
        print(f"There are no {options.what} yet.")


def _sources() -> list[dict[str, Any]]:
    from liverutils.sources import SOURCES

    return [
        {
            "name": source.name,
            "fetched": "liverutils fetch" if source.downloads else "by hand",
            "licence": source.licence,
            "layout": source.layout,
        }
        for source in SOURCES.values()
    ]


def _runs() -> list[dict[str, Any]]:
    from liverutils.course import repository_root
    from liverutils.runs import read_catalogue

    catalogue = read_catalogue(repository_root() / "notebooks" / "runs.yaml", "cpu")
    return [
        {"name": run.name, "notebook": run.notebook.stem, "set": run.set}
        for run in catalogue.values()
    ]


def _weights() -> list[dict[str, Any]]:
    from liverutils.course import resolve
    from liverutils.runs import OWN_LOGS

    files = [
        file
        for folder in (OWN_LOGS, "logs")
        for file in sorted(resolve(folder).glob("*/*.safetensors"))
    ]
    return [facts for file in files for facts in _facts(file)]


def _facts(file: Path) -> list[dict[str, Any]]:
    """What a weights file says of itself; nothing where it is none of ours."""
    from liverutils.course import repository_root
    from liverutils.models import read_weight_facts

    try:
        facts = read_weight_facts(file)
    except BadInput:
        return []
    data = facts.get("data", {})
    task = "classes" if data.get("target") == "label" else "masks"
    return [
        {
            "run": file.stem,
            "network": facts["model"]["name"],
            "predicts": "tumours in a liver" if "cropped_to" in data else task,
            "views": data.get("view", "unknown"),
            "file": file.relative_to(repository_root()),
        }
    ]


def _faults() -> list[dict[str, Any]]:
    from liverutils.course.faults import read_faults

    return [
        {
            "name": fault.name,
            "severity": fault.severity,
            "meaning": fault.meaning or fault.sentences[0],
        }
        for fault in read_faults()
    ]


LISTS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "sources": _sources,
    "runs": _runs,
    "weights": _weights,
    "faults": _faults,
}


def _bench(options: argparse.Namespace) -> int:
    from liverutils.course import repository_root

    command = [sys.executable, "-m", "tests.benchmarks", *options.names]
    return subprocess.run(command, cwd=repository_root(), check=False).returncode


def _completion(options: argparse.Namespace) -> None:
    import shtab

    from liverutils.cli.program import make_parser

    print(shtab.complete(make_parser(), options.shell))
