"""Names of what is scored."""

STRUCTURES = ("liver", "tumor")


SLICE_CLASSES = ("no liver", "liver", "liver with lesion")


SCORES = (
    "dice",
    "iou",
    "precision",
    "recall",
    "pixel_accuracy",
    "rvd",
    "assd_mm",
    "hd95_mm",
    "surface_dice_2mm",
)


# MONAI's names for the scores that follow from voxel counts.
MONAI_NAMES = {
    "dice": "f1 score",
    "iou": "threat score",
    "precision": "precision",
    "recall": "recall",
    "pixel_accuracy": "accuracy",
}


DISTANCES = ("assd_mm", "hd95_mm")


OVERLAPS = ("dice", "iou", "precision", "recall", "surface_dice_2mm")
