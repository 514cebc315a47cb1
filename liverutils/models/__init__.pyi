"""The course's networks, their losses and their weights."""

from .attention import grad_cam as grad_cam
from .build import build_model as build_model
from .build import count_parameters as count_parameters
from .cost import network_cost as network_cost
from .deeplab import ENCODERS as ENCODERS
from .inputs import InputRule as InputRule
from .inputs import input_rule as input_rule
from .losses import TwoTasks as TwoTasks
from .losses import build_loss as build_loss
from .multitask import MultiTaskUNet as MultiTaskUNet
from .precision import Settings as Settings
from .precision import fastest_time as fastest_time
from .resnet_segmentation import encoder_and_head as encoder_and_head
from .resunet import ResidualUnit as ResidualUnit
from .resunet import ResUNet as ResUNet
from .simple_cnn import SimpleCNN as SimpleCNN
from .unet import DoubleConv as DoubleConv
from .unet import UNet as UNet
from .weights import load_weights as load_weights
from .weights import read_weight_facts as read_weight_facts
from .weights import save_weights as save_weights
