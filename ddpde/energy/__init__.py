"""Energy of a law: F, its first variation F', entropy. NumPy in, NumPy out."""

from ddpde.energy.entropy import entropy
from ddpde.energy.features import FeatureMap, NodeFeatures
from ddpde.energy.functional import Energy
from ddpde.energy.hermite import HermiteRadialFeatures
from ddpde.energy.interaction import InteractionFeatures

__all__ = [
    "Energy",
    "FeatureMap",
    "HermiteRadialFeatures",
    "InteractionFeatures",
    "NodeFeatures",
    "entropy",
]
