"""What the trial of number formats and memory layouts gains over plain float32, per network."""

import torch

from liverutils.models import build_loss, build_model
from liverutils.models.build import MODELS
from liverutils.training import choose_device
from liverutils.training.precision import try_settings
from tests.benchmarks.common import report


def main() -> None:
    """Try the settings on random batches of 8 slices of 128 pixels, three times each."""
    report("settings_choice", [measure(name) for name in MODELS])


def measure(name: str) -> dict:
    """Return the chosen settings and their speed over float32's, the median of three trials."""
    device = choose_device("auto")
    images = torch.randn(8, 1, 128, 128, device=device)
    masks = torch.randint(0, 3, (8, 128, 128), device=device)
    model = build_model(name).to(device)
    trials = [try_settings(model, build_loss("dice_cross_entropy"), images, masks) for _ in "123"]
    gains = sorted((_gain(trial), trial.dtype[0], trial.channels_last[0]) for trial in trials)
    gain, dtype, channels_last = gains[1]
    return {"network": name, "dtype": dtype, "channels_last": channels_last, "gain": gain}


def _gain(trial) -> float:
    plain = trial[(trial.dtype == "float32") & ~trial.channels_last]
    return float(trial.images_per_second[0] / plain.images_per_second.iloc[0])


if __name__ == "__main__":
    main()
