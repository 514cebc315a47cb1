"""What the model card says of the weights that `liverutils predict` takes: from their logs.

`make readme` writes it anew. Real scans are not part of the repository: `python -m
tests.real_scans` scores them and writes the numbers, and nothing else, to `docs/real_scans.csv`.
"""

from functools import partial
from pathlib import Path

import pandas as pd

from liverutils.course.readme import fill, markdown_table, minutes_trained, write_interval
from liverutils.course.repository import repository_root
from liverutils.prediction import least_agreement
from liverutils.prediction.doubt import GOOD_DICE
from liverutils.runs import LoggedRun, load_runs
from liverutils.scoring import mean_interval

RUN, SHIFTED = "Transfer", "phantom-shifted"
SIZES = ((20, None), (10, 20), (0, 10))  # mm, of lesions


def write_card(card: Path, logs_dir: Path, real: Path) -> None:
    """Replace what stands between the markers of the card by what holds now."""
    run = load_runs(logs_dir)[RUN]
    fill(card, "made", partial(made, run))
    fill(card, "phantoms", partial(phantoms, run))
    least = least_agreement(logs_dir / RUN / f"{RUN}.safetensors")
    fill(card, "doubt", partial(doubt, run, least))
    fill(card, "real", partial(real_scans, pd.read_csv(real), least))


def made(run: LoggedRun) -> str:
    """How the weights came to be, in a sentence."""
    record, patients = run.record, len(run.record.split["train"])
    return (
        f"Trained for {len(run.tables['runtime'])} epochs on {patients} phantoms of the cohort "
        f"`phantom-randomised`, {record.data['size']} pixels a side, in "
        f"{minutes_trained(run):.0f} minutes on {record.machine['device']}; revision "
        f"{record.machine['git_revision'][:7]}."
    )


def phantoms(run: LoggedRun) -> str:
    """Scores on phantoms that it did not see: of its own cohort and of a scanner unlike it."""
    home, asked = run.tables["patients"], run.tables["elsewhere"]
    away = asked[asked.target == SHIFTED]
    rows = [
        _scores("held-out patients of its own cohort", home),
        _scores(f"`{SHIFTED}`, another scanner and phase", away),
    ]
    lesions = run.tables["lesions"]
    true, alarms = lesions[~lesions.false_positive], int(lesions.false_positive.sum())
    found = []
    for low, high in SIZES:
        some = true[(true.diameter_mm >= low) & (true.diameter_mm < (high or float("inf")))]
        name = f"{low} mm and more" if high is None else f"{low} to {high} mm"
        found.append(f"{int(some.found.sum())} of {len(some)} of {name}")
    said = f"Lesions found at home by this network alone (IoU over one half): {', '.join(found)};"
    return f"{markdown_table(rows)}\n\n{said} {alarms} false alarms in {len(home)} patients."


def _scores(on: str, table: pd.DataFrame) -> dict[str, str]:
    return {
        "phantoms": on,
        "scans": str(len(table)),
        "liver Dice": write_interval(mean_interval(table.liver_dice.to_numpy())),
        "worst": f"{table.liver_dice.min():.3f}",
        "HD95, median": f"{table.liver_hd95_mm.median():.1f} mm",
        "tumour Dice, all": f"{table.tumor_dice.mean():.2f}",
    }


def doubt(run: LoggedRun, least: float | None) -> str:
    """When `predict` warns, and how that would have gone on the scans it was calibrated on."""
    asked = run.tables["elsewhere"]
    if least is None:
        return f"No answer reached a liver Dice of {GOOD_DICE}."
    alarms = [
        f"on `{target}` it would have warned of "
        + _alarms(rows.agreement < least, rows.liver_dice >= GOOD_DICE)
        for target, rows in asked.groupby("target")
    ]
    return f"`predict` warns below an agreement of {least:.3f}: {'; '.join(alarms)}."


def real_scans(table: pd.DataFrame, least: float | None) -> str:
    """The scores on real scans, one row each, their mean by source, and who was warned of."""
    rows = [
        {
            "source": row.source,
            "scan": str(row.volume),
            "liver Dice": f"{row.liver_dice:.3f}",
            "HD95, mm": "unknown" if pd.isna(row.liver_hd95_mm) else f"{row.liver_hd95_mm:.1f}",
            "tumour Dice": "none to find"
            if row.tumor_true_voxels == 0
            else f"{row.tumor_dice:.2f}",
            "agreement": f"{row.agreement:.3f}",
        }
        for row in table.itertuples()
    ]
    means = table.groupby("source").liver_dice.agg(["mean", "size"])
    said = "; ".join(
        f"{name}: mean {m['mean']:.3f}, n = {m['size']:.0f}" for name, m in means.T.items()
    )
    good = table.liver_dice >= GOOD_DICE
    warned = table.agreement < (least or 0)
    alarms = _alarms(warned, good)
    return f"{markdown_table(rows)}\n\nLiver Dice by source: {said}. `predict` warns of {alarms}."


def _alarms(warned: pd.Series, good: pd.Series) -> str:
    poor = ~good
    return (
        f"{int((warned & poor).sum())} of the {int(poor.sum())} scans with a liver Dice below "
        f"{GOOD_DICE}, and of {int((warned & good).sum())} of the {int(good.sum())} others"
    )


if __name__ == "__main__":
    root = repository_root()
    write_card(root / "docs" / "model_card.md", root / "logs", root / "docs" / "real_scans.csv")
