"""How far apart a particle system and a PDE are, with error bars."""

from ddpde.compare.distances import SlicedW1, floor
from ddpde.compare.observables import law_risk, prediction
from ddpde.compare.sobolev import NegativeSobolev
from ddpde.compare.statistics import Extrapolation, Rate, extrapolate, fit_rate, half_width

__all__ = [
    "Extrapolation",
    "NegativeSobolev",
    "Rate",
    "SlicedW1",
    "extrapolate",
    "fit_rate",
    "floor",
    "half_width",
    "law_risk",
    "prediction",
]
