"""What only the notebooks and their repository need."""

from .colab import keep_on_drive as keep_on_drive
from .data import find_course_cases as find_course_cases
from .data import load_patient as load_patient
from .data import open_course_store as open_course_store
from .exercises import check as check
from .parameters import check_parameters as check_parameters
from .repository import repository_root as repository_root
from .repository import resolve as resolve
from .results import load_beside_reference as load_beside_reference
from .results import show_runs as show_runs
from .start import check_machine as check_machine
from .start import training_minutes as training_minutes
from .weights import find_weights as find_weights
from .weights import weights_on as weights_on
