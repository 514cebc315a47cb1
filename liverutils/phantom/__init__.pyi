"""Synthetic patients with a truth that is known, seeded: the same seed gives the same bytes."""

from .cohorts import COHORTS as COHORTS
from .follow_up import CHANGES as CHANGES
from .follow_up import make_follow_up as make_follow_up
from .layouts import LAYOUTS as LAYOUTS
from .layouts import write_ircadb as write_ircadb
from .mishaps import MISHAPS as MISHAPS
from .mishaps import spoil as spoil
from .own_layout import check_cohort as check_cohort
from .patients import make_patient as make_patient
from .trunk_scene import ORGANS as ORGANS
from .write import make_cohort as make_cohort
