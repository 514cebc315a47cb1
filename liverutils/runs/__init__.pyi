"""The catalogue of runs, their logs, and how two runs compare."""

from .catalogue import OWN_LOGS as OWN_LOGS
from .catalogue import PlannedRun as PlannedRun
from .catalogue import check_dataset as check_dataset
from .catalogue import choose as choose
from .catalogue import into_reference as into_reference
from .catalogue import on_data as on_data
from .catalogue import read_catalogue as read_catalogue
from .compare import comparable_groups as comparable_groups
from .compare import compare_pair as compare_pair
from .compare import compare_runs as compare_runs
from .compare import holm as holm
from .compare import paired_scores as paired_scores
from .compare import score_table as score_table
from .logged import LoggedRun as LoggedRun
from .logged import at_kept_epoch as at_kept_epoch
from .logged import by_epoch as by_epoch
from .logged import kept_epoch as kept_epoch
from .logged import load_runs as load_runs
from .logged import run_table as run_table
from .logs import RunLogs as RunLogs
from .logs import read_record as read_record
from .logs import read_run as read_run
from .machine import cpu_name as cpu_name
from .record import RunRecord as RunRecord
