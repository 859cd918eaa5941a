"""Energy of a law: F, its first variation F', entropy. NumPy in, NumPy out."""

from ddpde.energy.entropy import entropy
from ddpde.energy.features import FeatureMap, NodeFeatures, feature_map
from ddpde.energy.functional import Energy
from ddpde.energy.hermite import HermiteRadialFeatures

__all__ = [
    "Energy",
    "FeatureMap",
    "HermiteRadialFeatures",
    "NodeFeatures",
    "entropy",
    "feature_map",
]
