"""The data sets we know, and anyone's own folder: each ends in the same cases."""

from .download import describe as describe
from .download import fetch as fetch
from .files import CaseFiles as CaseFiles
from .files import fingerprint as fingerprint
from .files import is_nifti as is_nifti
from .files import personal_names as personal_names
from .folder import read_scan as read_scan
from .known import SOURCES as SOURCES
from .known import find_cases as find_cases
from .known import known_source as known_source
from .lits import lits_patient as lits_patient
from .names import by_name as by_name
from .names import is_mask as is_mask
