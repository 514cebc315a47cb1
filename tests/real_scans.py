"""What networks that saw phantoms only make of real scans: `python -m tests.real_scans --help`.

The scans are not part of this repository; whoever has a data set gives its folder or archive. Only
numbers leave this command.
"""

import argparse
from pathlib import Path

import pandas as pd

from liverutils.prediction import load_network, score_elsewhere
from liverutils.sources import find_cases

SHOWN = ["volume", "agreement", "liver_dice", "liver_hd95_mm", "tumor_dice", "tumor_true_voxels"]


def main() -> None:
    """Print a table for each network and data set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path, nargs="+", help="logs/RUN/RUN.safetensors")
    for source in ("ircadb", "lits-png", "chaos", "folder"):
        parser.add_argument(f"--{source}", type=Path, help=f"folder or archive of {source}")
    parser.add_argument("--tumor-weights", type=Path, help="as for `liverutils predict`")
    parser.add_argument("--out", type=Path, help="write the scores of the last weights, as CSV")
    options = vars(parser.parse_args())
    weights, out, second = (options.pop(name) for name in ("weights", "out", "tumor_weights"))
    tumors = load_network(second) if second else None
    for path in weights:
        network, tables = load_network(path), []
        for name, place in options.items():
            if place:
                source = name.replace("_", "-")
                scores = score_elsewhere(network, find_cases(source, place), tumors)
                print(f"\n{path.stem} on {source}: liver Dice {scores.liver_dice.mean():.3f}")
                print(scores[SHOWN].round(3).to_string(index=False))
                tables.append(scores[SHOWN].assign(source=source))
    if out and tables:
        pd.concat(tables).round(4).to_csv(out, index=False)


if __name__ == "__main__":
    main()
