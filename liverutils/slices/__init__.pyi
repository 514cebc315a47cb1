"""From scans to slices on disk, and from there to batches on the device."""

from .augment import Augment as Augment
from .build import build_store as build_store
from .crops import MARGIN_MM as MARGIN_MM
from .crops import crop_case as crop_case
from .crops import crop_files as crop_files
from .crops import liver_box as liver_box
from .crops import paste as paste
from .cut import cut_case as cut_case
from .cut import cut_picture as cut_picture
from .info import StoreInfo as StoreInfo
from .joined import join_views as join_views
from .loaders import SliceLoader as SliceLoader
from .loaders import SliceLoaders as SliceLoaders
from .loaders import gathered_ahead as gathered_ahead
from .loaders import slice_loaders as slice_loaders
from .nnunet import export_nnunet as export_nnunet
from .resampling import Resampler as Resampler
from .slice_set import INPUT_WINDOWS as INPUT_WINDOWS
from .slice_set import SliceSet as SliceSet
from .slice_set import apply_window as apply_window
from .splits import Split as Split
from .splits import nnunet_folds as nnunet_folds
from .splits import split_patients as split_patients
from .store import SliceStore as SliceStore
from .transfer_augment import TransferAugment as TransferAugment
from .warp import Warp as Warp
