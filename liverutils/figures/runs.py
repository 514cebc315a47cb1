"""Figures over the logs of several runs: curves, bars, intervals, heat maps, what a score costs.

Runs are those that `runs.load_runs` reads. A run keeps its colour within a figure; networks are
ordered from dark to light as they are handed in, so that a series such as ResNet18 to ResNet152
reads as one.
"""

from collections.abc import Callable, Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import (
    EngFormatter,
    Formatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    StrMethodFormatter,
)
from matplotlib.transforms import BboxBase

from liverutils.figures.classes import plot_confusion
from liverutils.figures.slices import picture_grid
from liverutils.figures.style import LIVER_COLOUR, STRUCTURE_NAMES, TUMOR_COLOUR
from liverutils.runs import LoggedRun, by_epoch, kept_epoch
from liverutils.scoring import SLICE_CLASSES

LINES = ("-", "--", ":", "-.")


CROWDED = 10  # times the median


STRUCTURE_COLOURS = {"liver": LIVER_COLOUR, "tumor": TUMOR_COLOUR}


PIXEL_COLOURS = {"not liver": "silver", "liver": LIVER_COLOUR, "tumour": TUMOR_COLOUR}


def network_of(run: str) -> str:
    """The network's name in a run's: `ResNet18` of `ResNet18_init` and `a/ResNet18_lre3`."""
    return run.rsplit("/", 1)[-1].split("_")[0]


def plot_epochs(
    runs: Mapping[str, LoggedRun],
    columns: Mapping[str, str],
    *,
    network: Callable[[str], str] = network_of,
) -> Figure:
    """Plot columns of the validation logs against the epochs done, one frame for each column.

    Args:
        runs: One line each: runs of one network share a colour and differ in their dashes.
        columns: Column of `<run>_val.csv` → what it is called at the axis.
        network: Name of a run → name of its network.
    """
    figure, axes = plt.subplots(1, len(columns), squeeze=False, figsize=(9.0, 3.4))
    styles = _line_styles(list(runs), network)
    for name, run in runs.items():
        table = by_epoch(run, "val")
        for ax, column in zip(axes.flat, columns, strict=True):
            ax.plot(table.index + 1, table[column], label=name, marker=".", **styles[name])
    for ax, label in zip(axes.flat, columns.values(), strict=True):
        _count_epochs(ax, label)
        _part_crowded_lines(ax)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right upper")
    return figure


def plot_classes(run: LoggedRun, scores: Mapping[str, str]) -> Figure:
    """Plot validation scores of one run class by class: what is not liver, liver, tumour.

    Args:
        run: With columns `<score>_avg_class_{0,1,2}` in `<run>_val.csv`.
        scores: Score → what it is called at the axis, such as dice → Dice.
    """
    figure, axes = plt.subplots(1, len(scores), squeeze=False, figsize=(9.0, 3.4))
    table = by_epoch(run, "val")
    for ax, (score, label) in zip(axes.flat, scores.items(), strict=True):
        for number, (structure, colour) in enumerate(PIXEL_COLOURS.items()):
            values = table[f"{score}_avg_class_{number}"]
            ax.plot(table.index + 1, values, "o-", color=colour, label=structure)
        _count_epochs(ax, label)
        ax.set_ylim(0, 1.02)
    figure.suptitle(run.name, fontsize=11)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right upper")
    return figure


def plot_losses(runs: Mapping[str, LoggedRun]) -> Figure:
    """Plot the mean training loss of each epoch against the validation loss, a frame per run."""
    figure, frames = picture_grid(len(runs), columns=4, row_height=2.2)
    for ax, (name, run) in zip(frames, runs.items(), strict=True):
        ax.set_axis_on()
        train, val = by_epoch(run, "train"), by_epoch(run, "val")
        ax.plot(train.index + 1, train["loss"], "--", color="dimgrey", label="training, mean")
        ax.plot(val.index + 1, val["val_loss"], color="black", label="validation")
        ax.set_title(name, fontsize=9)
        _count_epochs(ax, "")
        ax.set_ylim(0, None)
    frames[0].set_ylabel("loss")
    figure.legend(*frames[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def plot_bars(
    table: pd.DataFrame, label: str, *, colours: Mapping[str, str] | None = None, top: float = 1.0
) -> Figure:
    """Plot a group of bars for each row of `table`, one for each column, with their values.

    Args:
        table: Index: the names written beside the bars. Columns: what the legend says.
        label: Of the axis of values.
        colours: Column → colour; by default from dark to light.
        top: The axis reaches at least so far; 0 leaves it to the values.
    """
    height = 0.8 / table.shape[1]
    figure, ax = plt.subplots(figsize=(8.0, 0.9 + 0.17 * table.size + 0.2 * len(table)))
    colours = colours or dict(zip(table.columns, _shades(table.shape[1]), strict=True))
    for place, (column, values) in enumerate(table.items()):
        rows = np.arange(len(table)) + (place + 0.5) * height - 0.4
        bars = ax.barh(rows, values, 0.9 * height, color=colours[column], label=column)
        ax.bar_label(bars, [_short(value) for value in values], padding=3, fontsize=8)
    ax.set_yticks(range(len(table)), table.index)
    ax.set(xlabel=label, xlim=(0, max(top, 1.1 * np.nanmax([*table.max(), 0]))))
    ax.invert_yaxis()
    if table.shape[1] > 1:
        figure.legend(loc="outside right upper")
    return figure


def plot_confusions(runs: Mapping[str, LoggedRun]) -> Figure:
    """Plot the validation's confusion matrix at the kept epoch of each run."""
    figure, frames = picture_grid(len(runs), columns=3, row_height=3.0)
    for ax, (name, run) in zip(frames, runs.items(), strict=True):
        ax.set_axis_on()
        plot_confusion(confusion_of(run), ax)
        ax.spines[:].set_visible(False)
        ax.set(title=name, xlabel="", ylabel="")
    frames[0].set(xlabel="predicted", ylabel="true")
    return figure


def confusion_of(run: LoggedRun) -> np.ndarray:
    """Return slices by true (rows) and predicted class, (3, 3), at the kept epoch of a run."""
    table = run.tables["confusion"]
    kept = kept_epoch(run)
    epoch = kept if kept in set(table["epoch"]) else table["epoch"].max()
    rows = table[table["epoch"] == epoch].set_index("true")
    return rows.reindex(list(SLICE_CLASSES))[list(SLICE_CLASSES)].fillna(0).to_numpy(int)


def plot_learning_rates(
    runs: Mapping[str, LoggedRun], *, network: Callable[[str], str] = network_of
) -> Figure:
    """Plot the best validation accuracy against the learning rate, one line for each network."""
    best = pd.DataFrame(
        {
            "network": network(name),
            "rate": run.tables["hyperparams"]["learning_rate"].iloc[0],
            "accuracy": run.tables["val"]["val_accuracy"].max(),
        }
        for name, run in runs.items()
    )
    figure, ax = plt.subplots(figsize=(8.0, 3.4))
    networks = list(best.groupby("network", sort=False))
    for colour, (name, rows) in zip(_shades(len(networks)), networks, strict=True):
        rows = rows.sort_values("rate")
        ax.plot(rows["rate"], rows["accuracy"], "o-", color=colour, label=name)
    ax.set(xscale="log", xlabel="learning rate", ylabel="best validation accuracy")
    figure.legend(loc="outside right upper")
    return figure


def plot_intervals(table: pd.DataFrame, *, score: str = "dice", label: str = "Dice") -> Figure:
    """Plot each run's mean over patients with its interval; liver and tumour side by side.

    Args:
        table: From `runs.score_table`.
        score: One of its scores.
        label: What the axis calls it.
    """
    table = table[table["score"] == score]
    runs = list(table["run"].unique())
    figure, axes = plt.subplots(1, 2, sharey=True, figsize=(9.0, 1.2 + 0.28 * len(runs)))
    for ax, (structure, colour) in zip(axes, STRUCTURE_COLOURS.items(), strict=True):
        rows = table[table["structure"] == structure]
        places = [runs.index(name) for name in rows["run"]]
        ax.hlines(places, rows["low"], rows["high"], color=colour, linewidth=3)
        ax.plot(rows["mean"], places, "D", color="black", markersize=5)
        ax.set(xlabel=label, title=STRUCTURE_NAMES[structure])
        ax.grid(axis="x", color="gainsboro")
    axes[0].set_yticks(range(len(runs)), runs)
    axes[0].invert_yaxis()
    return figure


def plot_patients(scores: pd.DataFrame, label: str) -> Figure:
    """Plot a line per patient from run to run, and the mean over patients.

    Args:
        scores: From `runs.paired_scores`.
        label: Of the axis of scores.
    """
    figure, ax = plt.subplots(figsize=(8.0, 1.2 + 0.28 * scores.shape[1]))
    places = range(scores.shape[1])
    for _, patient in scores.iterrows():
        ax.plot(patient, places, ".-", color="silver")
    ax.plot(scores.mean(), places, "D", color="black", markersize=5)
    ax.set_yticks(places, scores.columns)
    ax.set(xlabel=label)
    ax.invert_yaxis()
    return figure


def plot_differences(pairs: pd.DataFrame, label: str) -> Figure:
    """Plot paired differences with their intervals; black where Holm's p is below 0.05.

    Args:
        pairs: From `runs.compare_runs`.
        label: Of the axis of differences.
    """
    figure, ax = plt.subplots(figsize=(8.0, 1.2 + 0.28 * len(pairs)))
    for place, pair in enumerate(pairs.itertuples()):
        colour = "black" if pair.p_holm < 0.05 else "darkgrey"
        ax.plot([pair.low, pair.high], [place, place], color=colour, linewidth=2)
        ax.plot(pair.difference, place, "D", color=colour, markersize=5)
    ax.axvline(0, color="black", linewidth=0.8, linestyle=":")
    names = [f"{pair.run} − {pair.other}" for pair in pairs.itertuples()]
    ax.set_yticks(range(len(pairs)), names)
    ax.set(xlabel=label)
    ax.invert_yaxis()
    return figure


def plot_tradeoff(table: pd.DataFrame, costs: Mapping[str, str], score: str, label: str) -> Figure:
    """Plot a score against what it costs, with the front: what nothing beats in both.

    Args:
        table: One row per run with the columns `run`, `score` and the costs.
        costs: Column → what the axis calls it, one frame each; on a logarithmic axis.
        score: Column of the score, the more the better.
        label: What the axis calls the score.

    A name that would cover another one is left out; its dot stays.
    """
    figure, axes = plt.subplots(len(costs), 1, squeeze=False, figsize=(9.0, 3.8 * len(costs)))
    table = table.sort_values(score)
    for ax, (cost, name) in zip(axes.flat, costs.items(), strict=True):
        front = pareto_front(table, cost, score)
        ax.step(front[cost], front[score], where="post", color="silver", zorder=1)
        on_front = table["run"].isin(front["run"])
        ax.scatter(table[cost], table[score], c=np.where(on_front, "black", "darkgrey"), zorder=2)
        ax.set(xscale="log", xlabel=name, ylabel=label)
        _label_decades(ax.xaxis, EngFormatter(sep=""))
        ax.margins(x=0.15, y=0.1)
        _name_dots(ax, table, cost, score)
    return figure


def _name_dots(ax: Axes, table: pd.DataFrame, cost: str, score: str) -> None:
    """Write the runs' names beside their dots, from the best down, where there is room."""
    taken: list[BboxBase] = []
    for run, x, y in zip(table["run"][::-1], table[cost][::-1], table[score][::-1], strict=True):
        for offset in ((5, 4), (5, -11)):
            name = ax.annotate(run, (x, y), xytext=offset, textcoords="offset points", fontsize=8)
            frame = name.get_window_extent()
            if not any(frame.overlaps(other) for other in taken):
                taken.append(frame)
                break
            name.remove()


def pareto_front(table: pd.DataFrame, cost: str, score: str) -> pd.DataFrame:
    """Return the rows that no other row beats: none is as cheap and better. The cheapest first."""
    rows = table.dropna(subset=[cost, score]).sort_values([cost, score], ascending=[True, False])
    return rows[rows[score] > rows[score].cummax().shift(fill_value=-np.inf)]


def _line_styles(
    runs: list[str], network: Callable[[str], str]
) -> dict[str, dict[str, str | tuple]]:
    """A colour for each network, a kind of dash for each of its runs."""
    networks = list(dict.fromkeys(map(network, runs)))
    colours = dict(zip(networks, _shades(len(networks)), strict=True))
    number = pd.Series(runs, dtype=str).groupby([network(run) for run in runs]).cumcount()
    return {
        run: {"color": colours[network(run)], "linestyle": LINES[place % len(LINES)]}
        for run, place in zip(runs, number, strict=True)
    }


def _shades(n: int) -> list[str]:
    """`n` colours from dark to light that print well and that colour-blind people can order."""
    return [to_hex(colour) for colour in plt.get_cmap("viridis")(np.linspace(0, 0.85, n))]


def _count_epochs(ax: Axes, label: str) -> None:
    ax.set(xlabel="epochs done", ylabel=label)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def _part_crowded_lines(ax: Axes) -> None:
    """Make the axis logarithmic where one line that ran away would flatten all others."""
    values = np.concatenate([line.get_ydata() for line in ax.lines])
    if np.nanmin(values) > 0 and np.nanmax(values) > CROWDED * np.nanmedian(values):
        ax.set_yscale("log")
        _label_decades(ax.yaxis, StrMethodFormatter("{x:g}"))


def _label_decades(axis: Axis, formatter: Formatter) -> None:
    """Label 1, 2 and 5 of each decade of a logarithmic axis."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(formatter)
    axis.set_minor_formatter(NullFormatter())


def _short(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3g}"
