"""Scores by patient, lesion and slice, each with an interval."""

from .classes import Roc as Roc
from .classes import bootstrap_auc as bootstrap_auc
from .classes import bootstrap_roc as bootstrap_roc
from .classes import calibration_bins as calibration_bins
from .classes import expected_calibration_error as expected_calibration_error
from .classes import roc_area as roc_area
from .classes import score_auc as score_auc
from .classes import score_classes as score_classes
from .counts import PatientCounts as PatientCounts
from .counts import score_images as score_images
from .folders import evaluate_masks as evaluate_masks
from .intervals import Interval as Interval
from .intervals import mean_interval as mean_interval
from .lesions import label_lesions as label_lesions
from .lesions import lesion_summary as lesion_summary
from .lesions import nearest_look_alike as nearest_look_alike
from .lesions import score_lesions as score_lesions
from .names import SLICE_CLASSES as SLICE_CLASSES
from .summary import summarise as summarise
from .volumes import score_patient as score_patient
from .volumes import score_volume as score_volume
