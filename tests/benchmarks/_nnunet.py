"""nnU-Net's training and answers for `nnunet`, in a process that knows nothing of the course.

python -m tests.benchmarks._nnunet SECONDS DEVICE FOLDER
"""

import json
import sys
import time
from pathlib import Path

import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.paths import nnUNet_preprocessed, nnUNet_raw
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.dataset_name_id_conversion import convert_id_to_dataset_name

DATASET = convert_id_to_dataset_name(1)


class TimedTrainer(nnUNetTrainer):
    """nnU-Net's trainer with a budget of seconds in place of its epochs.

    Its learning rate falls along nnU-Net's own curve, by the share of the time that is gone.
    """

    def run_training(self):
        """Train for `seconds` from the first step on, without scoring the validation patients."""
        self.disable_checkpointing = True
        self.on_train_start()
        self.network.train()
        self.steps, start = 0, time.perf_counter()
        while (share := (time.perf_counter() - start) / self.seconds) < 1:
            self.lr_scheduler.step(share * self.num_epochs)
            self.train_step(next(self.dataloader_train))
            self.steps += 1
        self.train_s = time.perf_counter() - start
        self.on_train_end()


def main(seconds: str, device: str, folder: str) -> None:
    """Train, and write the masks of the held-out scans and what it took into a folder."""
    trainer = make_trainer(torch.device(device))
    trainer.seconds = float(seconds)
    trainer.run_training()
    start = time.perf_counter()
    predict(trainer, Path(folder, "masks"))
    predict_s = time.perf_counter() - start
    plan = trainer.configuration_manager
    measured = {
        "picture": "x".join(map(str, plan.patch_size)),
        "batch": plan.batch_size,
        "parameters": sum(weights.numel() for weights in trainer.network.parameters()),
        "train_s": trainer.train_s,
        "steps": trainer.steps,
        "predict_s": predict_s,
    }
    Path(folder, "facts.json").write_text(json.dumps(measured))


def make_trainer(device: torch.device) -> TimedTrainer:
    """Return the trainer of the 2d configuration on the only split of the only data set."""
    folder = Path(nnUNet_preprocessed, DATASET)
    plans = json.loads((folder / "nnUNetPlans.json").read_text())
    dataset = json.loads((folder / "dataset.json").read_text())
    return TimedTrainer(plans | {"continue_training": False}, "2d", 0, dataset, device)


def predict(trainer: TimedTrainer, masks: Path) -> None:
    """Segment the held-out scans as nnU-Net does by default, one after the other."""
    masks.mkdir()
    trainer.set_deep_supervision_enabled(False)
    predictor = nnUNetPredictor(device=trainer.device, allow_tqdm=False)
    predictor.manual_initialization(
        trainer.network,
        trainer.plans_manager,
        trainer.configuration_manager,
        [trainer.network.state_dict()],
        trainer.dataset_json,
        type(trainer).__name__,
        trainer.inference_allowed_mirroring_axes,
    )
    scans = Path(nnUNet_raw, DATASET, "imagesTs")
    predictor.predict_from_files_sequential(str(scans), str(masks))


if __name__ == "__main__":
    main(*sys.argv[1:])
