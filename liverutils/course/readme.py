"""What the READMEs say of notebooks and runs, as it stands now: `make readme`.

The front page gets a table of the notebooks and one of their reference runs; `logs/README.md` gets
all runs with their variants, the pictures, and the graph of what waits for what.
"""

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

import pandas as pd

from liverutils.course.contents import Notebook, executed_copy, read_contents
from liverutils.course.repository import repository_root
from liverutils.figures import contact_sheets
from liverutils.files import written_aside
from liverutils.prediction import LESION
from liverutils.runs import LoggedRun, choose, comparable_groups, load_runs, read_catalogue
from liverutils.scoring import SLICE_CLASSES, Interval, bootstrap_auc, mean_interval

SEGMENTATION = ("patients.liver_dice", "lesions.found", "cost.ms_per_slice")


CLASSIFICATION = ("slices.true", "patients.accuracy", "cost.ms_per_slice")


# Notebooks beside each other on the front page.
IN_A_ROW = 5

# A run of the present recipe holds out at least so many patients.
HELD_OUT = 32


def write_readme(readme: Path, logs_dir: Path) -> None:
    """Replace what stands between the markers of the front page by what holds now."""
    fill(readme, "minutes", partial(minutes_of_training, logs_dir))
    fill(readme, "notebooks", notebook_table)
    fill(readme, "reached", partial(reached, logs_dir))


def write_logs_readme(readme: Path, logs_dir: Path, gallery: Path) -> None:
    """Replace what stands between the markers of the logs' page by what holds now."""
    fill(readme, "results", partial(results, logs_dir))
    fill(readme, "gallery", partial(pictures, gallery, logs_dir))
    fill(readme, "runs", rule_graph)


def fill(readme: Path, name: str, content: Callable[[], str]) -> None:
    """Replace what stands between the markers `name`; `content` is made only where there are."""
    marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    text = marked.sub(lambda found: f"{found[1]}{content()}\n{found[2]}", readme.read_text())
    with written_aside(readme) as aside:
        aside.write_text(text)


def notebook_table() -> str:
    """Return the notebooks as they are taught, part by part; each leads to where it has run."""
    parts = []
    for part in read_contents():
        cells = [_cell(notebook) for notebook in part.notebooks]
        cells += [""] * (-len(cells) % IN_A_ROW)
        rows = [cells[i : i + IN_A_ROW] for i in range(0, len(cells), IN_A_ROW)]
        head = [[part.title, *[""] * (IN_A_ROW - 1)], ["---"] * IN_A_ROW]
        parts.append("\n".join(f"|{'|'.join(row)}|" for row in head + rows))
    return "\n\n".join(parts)


def _cell(notebook: Notebook) -> str:
    if not (repository_root() / notebook.thumbnail).is_file():
        return f"[{notebook.name}]({notebook.executed or notebook.path})"
    picture = f"![]({notebook.thumbnail})<br>{notebook.name}"
    return f"[{picture}]({notebook.executed or notebook.path})"


def reached(logs_dir: Path) -> str:
    """Return the table of what each notebook's reference run reached, as they are taught."""
    runs = _scored(logs_dir)
    rows = [_reached(name, run) for name, run in runs.items()]
    early = [run for run in runs.values() if len(run.record.held_out or ()) < HELD_OUT]
    devices = Counter(run.record.machine["device"] for run in runs.values())
    machines = " and ".join(f"{device} ({n} runs)" for device, n in sorted(devices.items()))
    said = f"Measured on {machines}."
    if early:
        patients = sorted({len(run.record.held_out or ()) for run in early})
        said += (
            f" {len(early)} of these {len(runs)} runs are of an **earlier recipe** and have only "
            f"{' or '.join(map(str, patients))} held-out patients: too few to rank networks by."
        )
    return f"{said}\n\n{markdown_table(rows)}"


def minutes_of_training(logs_dir: Path) -> str:
    """Say how long the notebooks' reference runs trained, and on what."""
    runs = list(_scored(logs_dir).values())
    minutes = sorted(minutes_trained(run) for run in runs)
    machines = sorted({_machine(run) for run in runs})
    return (
        f"The {len(runs)} reference runs below trained for {minutes[0]:.0f} to {minutes[-1]:.0f} "
        f"minutes each (median {median(minutes):.0f}), on {' or '.join(machines)}."
    )


def _machine(run: LoggedRun) -> str:
    device, cores = run.record.machine["device"], run.record.machine["cores"]
    is_gpu = re.search("NVIDIA|Tesla", device)
    return f"one {device}" if is_gpu else f"{cores} cores of {device}"


def minutes_trained(run: LoggedRun) -> float:
    """Minutes that the epochs of a run took together."""
    return run.tables["runtime"].runtime.sum() / 60


def _scored(logs_dir: Path) -> dict[str, LoggedRun]:
    """The scored reference runs by their notebooks' names, as they are taught."""
    logged = load_runs(logs_dir)
    notebooks = [notebook for part in read_contents() for notebook in part.notebooks]
    runs = {notebook.name: logged[notebook.run] for notebook in notebooks if notebook.run in logged}
    return {
        name: run
        for name, run in runs.items()
        if run.has(*SEGMENTATION) or run.has(*CLASSIFICATION)
    }


def _reached(name: str, run: LoggedRun) -> dict[str, str]:
    row = dict.fromkeys(
        ("notebook", "patients", "accuracy", "majority", "liver Dice", "tumour Dice",
         "lesions found", "false alarms"), ""
    )  # fmt: skip
    row |= {"notebook": name, "patients": str(len(run.record.held_out or ()))}
    if run.has(*CLASSIFICATION):
        patients, slices = run.tables["patients"], run.tables["slices"]
        row["accuracy"] = write_interval(mean_interval(patients.accuracy, patients.slices), 2)
        row["majority"] = f"{slices.true.value_counts(normalize=True).max():.2f}"
    if run.has(*SEGMENTATION):
        patients, lesions = run.tables["patients"], run.tables["lesions"]
        row["liver Dice"] = f"{patients.liver_dice.mean():.3f}"
        row["tumour Dice"] = write_interval(mean_interval(patients.tumor_dice), 2)
        row["lesions found"] = _lesions_found(run)
        row["false alarms"] = str(int(lesions.false_positive.sum()))
    return row | {"minutes": f"{minutes_trained(run):.1f}"}


def results(logs_dir: Path) -> str:
    """Return the Markdown tables of all phantom runs that share their held-out patients."""
    runs = {
        name: run
        for name, run in load_runs(logs_dir).items()
        if run.record.source == "phantom" and "/" not in name
    }
    masks = {name: run for name, run in runs.items() if run.has(*SEGMENTATION)}
    classes = {name: run for name, run in runs.items() if run.has(*CLASSIFICATION)}
    catalogue = read_catalogue(repository_root() / "notebooks" / "runs.yaml", "cpu")
    core = {run.name for run in choose(catalogue, "core")}
    parts = _tables("Segmentation", masks, core, _segmentation_row)
    parts += _tables("Classification", classes, core, _class_row)
    return "\n\n".join(parts)


def pictures(gallery: Path, logs_dir: Path) -> str:
    """Return the contact sheet of every run, as Markdown links."""
    rows = [
        f"[{run}](../{gallery.name}/{run}/{sheet.name})"
        for run, sheet in contact_sheets(gallery, logs_dir).items()
    ]
    return " · ".join(rows)


def rule_graph() -> str:
    """Return Snakemake's graph of the core set as a Mermaid diagram, which GitHub draws."""
    command = [sys.executable, "-m", "snakemake", "--rulegraph", "mermaid-js", "--forceall"]
    command += ["--cores", "1", "--config", "profile=cpu", "set=core"]
    drawn = subprocess.run(
        command, cwd=repository_root(), capture_output=True, text=True, check=True
    ).stdout
    names = dict(re.findall(r"(id\d+)\[(\w+)\]", drawn))
    waiting: dict[str, list[str]] = {name: [] for name in names.values() if name != "all"}
    for first, later in re.findall(r"(id\d+) --> (id\d+)", drawn):
        if names[later] in waiting:
            waiting[names[first]].append(names[later])
    return "\n".join(["```mermaid", "flowchart LR", *_arrows(waiting), "```"])


def _arrows(waiting: dict[str, list[str]]) -> Iterator[str]:
    """A line for each rule, with what waits for it and not for another that waits for it too."""
    for rule, others in waiting.items():
        anyhow = {last for other in others for last in _all_after(other, waiting)}
        direct = [name for name in waiting if name in others and name not in anyhow]
        yield f"  {rule} --> {' & '.join(direct)}" if direct else f"  {rule}"


def _all_after(rule: str, waiting: dict[str, list[str]]) -> set[str]:
    """All that waits for a rule, at once or through others."""
    return set(waiting[rule]).union(*(_all_after(other, waiting) for other in waiting[rule]))


def _tables(
    task: str,
    runs: dict[str, LoggedRun],
    core: set[str],
    row: Callable[[LoggedRun], dict[str, str]],
) -> list[str]:
    """For each set of held-out patients the core runs', and their variants' folded away below."""
    groups = comparable_groups(runs) if runs else []
    shown = [group for number, group in enumerate(groups) if number == 0 or core & group.keys()]
    return [part for group in shown for part in _group_tables(task, group, core, row)]


def _group_tables(
    task: str,
    group: dict[str, LoggedRun],
    core: set[str],
    row: Callable[[LoggedRun], dict[str, str]],
) -> list[str]:
    own = {name: run for name, run in group.items() if name in core}
    variants = {name: run for name, run in group.items() if name not in core}
    patients = len(next(iter(group.values())).tables["patients"])
    parts = [f"**{task}**, phantom, {patients} held-out patients; {_trained_on(own)}."]
    parts += [markdown_table(map(row, own.values()))]
    if variants:
        summary = f"{task}: {len(variants)} variants; {_trained_on(variants)}"
        parts += [f"<details>\n<summary>{summary}</summary>"]
        parts += [markdown_table(map(row, variants.values())), "</details>"]
    return parts


def _trained_on(runs: dict[str, LoggedRun]) -> str:
    devices = sorted({run.record.machine["device"] for run in runs.values()})
    return f"trained on {' and '.join(devices)}"


def _segmentation_row(run: LoggedRun) -> dict[str, str]:
    patients = run.tables["patients"]
    return {
        "run": _link(run),
        "liver Dice": write_interval(mean_interval(patients.liver_dice)),
        "tumour Dice": write_interval(mean_interval(patients.tumor_dice)),
        "lesions found": _lesions_found(run),
        "false alarms": str(int(run.tables["lesions"].false_positive.sum())),
        "liver HD95, mm": f"{patients.liver_hd95_mm.mean():.1f}",
    } | _costs(run)


def _class_row(run: LoggedRun) -> dict[str, str]:
    patients, slices = run.tables["patients"], run.tables["slices"]
    has_lesion = slices.true == LESION
    lesion = bootstrap_auc(has_lesion, slices[SLICE_CLASSES[LESION]], slices.patient)
    return {
        "run": _link(run),
        "accuracy": write_interval(mean_interval(patients.accuracy, patients.slices)),
        "majority": f"{slices.true.value_counts(normalize=True).max():.3f}",
        "AUC lesion or none": write_interval(lesion),
    } | _costs(run)


def _costs(run: LoggedRun) -> dict[str, str]:
    cost = run.record.cost
    return {
        "pixels": str(run.record.data["size"]),
        "parameters, M": f"{cost['parameters'] / 1e6:.2f}",
        "ms a slice": f"{cost['ms_per_slice']:.1f}",
        "training, min": f"{minutes_trained(run):.1f}",
    }


def _lesions_found(run: LoggedRun) -> str:
    lesions = run.tables["lesions"]
    true = lesions[~lesions.false_positive]
    return f"{int(true.found.sum())} of {len(true)}"


def _link(run: LoggedRun) -> str:
    """The run's name, with its executed notebook where it has one of its own."""
    copy = executed_copy(run.name)
    return f"[{run.name}]({copy.relative_to('logs')})" if copy else run.name


def write_interval(interval: Interval, digits: int = 3) -> str:
    """Return a mean with its interval in brackets."""
    mean, low, high = (f"{v:.{digits}f}" for v in (interval.mean, interval.low, interval.high))
    return f"{mean} ({low} to {high})"


def markdown_table(rows: Iterable[dict[str, str]]) -> str:
    """Return a Markdown table of rows that share their keys."""
    table = pd.DataFrame(rows)
    lines = [table.columns, ["---"] * len(table.columns), *table.to_numpy()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    root = repository_root()
    write_readme(root / "README.md", root / "logs")
    write_logs_readme(root / "logs" / "README.md", root / "logs", root / "images_gallery")
