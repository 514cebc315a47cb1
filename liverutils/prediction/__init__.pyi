"""From a trained network to labels on the voxels of a scan."""

from .cascade import check_unseen as check_unseen
from .cascade import find_liver as find_liver
from .cascade import liver_crops as liver_crops
from .cascade import segment_in_liver as segment_in_liver
from .cascade import start_from as start_from
from .classes import LESION as LESION
from .classes import slice_table as slice_table
from .cohort import segment_scans as segment_scans
from .doubt import least_agreement as least_agreement
from .doubt import liver_agreement as liver_agreement
from .elsewhere import score_elsewhere as score_elsewhere
from .held_out import predict_labels as predict_labels
from .held_out import predict_slices as predict_slices
from .kept_rows import rows_of_scans as rows_of_scans
from .network import keep_largest_liver as keep_largest_liver
from .network import load_network as load_network
from .network import segment as segment
from .scan_to_file import Prediction as Prediction
from .scan_to_file import load_networks as load_networks
from .scan_to_file import predict_scan as predict_scan
from .scan_to_file import segment_file as segment_file
from .score import score_test as score_test
from .views import predict_views as predict_views
from .views import score_detection as score_detection
