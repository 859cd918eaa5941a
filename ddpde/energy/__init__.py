"""Energy of a law: F, its first variation F', entropy. NumPy in, NumPy out."""

from ddpde.energy.blocks import InBlocks
from ddpde.energy.entropy import entropy
from ddpde.energy.features import FeatureMap, NodeFeatures
from ddpde.energy.functional import TOLERANCE, Energy
from ddpde.energy.gradient_noise import GradientCovariance
from ddpde.energy.hermite import HermiteRadialFeatures
from ddpde.energy.interaction import InteractionFeatures
from ddpde.energy.nodal import NodalFeatures, compact, on_lattice

__all__ = [
    "TOLERANCE",
    "Energy",
    "FeatureMap",
    "GradientCovariance",
    "HermiteRadialFeatures",
    "InBlocks",
    "InteractionFeatures",
    "NodalFeatures",
    "NodeFeatures",
    "compact",
    "entropy",
    "on_lattice",
]
