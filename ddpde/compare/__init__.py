"""How far apart a particle system and a PDE are, with error bars."""

from ddpde.compare.distances import floor, sliced_w1
from ddpde.compare.observables import law_risk, prediction
from ddpde.compare.statistics import Extrapolation, Rate, extrapolate, fit_rate, half_width

__all__ = [
    "Extrapolation",
    "Rate",
    "extrapolate",
    "fit_rate",
    "floor",
    "half_width",
    "law_risk",
    "prediction",
    "sliced_w1",
]
