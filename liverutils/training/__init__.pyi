"""Learners, and the one way to train them."""

from .learners import CourseLearner as CourseLearner
from .learners import classification_learner as classification_learner
from .learners import multitask_learner as multitask_learner
from .learners import segmentation_learner as segmentation_learner
from .loop import train as train
from .precision import choose_device as choose_device
from .precision import use_fastest_settings as use_fastest_settings
from .precision import use_settings as use_settings
