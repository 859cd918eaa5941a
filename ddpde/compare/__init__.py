"""How far apart a particle system and a PDE are, with error bars."""

from ddpde.compare.distances import SlicedW1, SlicedW2, floor
from ddpde.compare.gaussians import QuadraticInteraction, gaussian_entropy, gaussian_w2
from ddpde.compare.kernels import energy_kernel, gaussian_kernel, mmd_squared
from ddpde.compare.marginals import ChaosGap, chaos_gap
from ddpde.compare.observables import cloud_energy, law_energy, law_risk, prediction
from ddpde.compare.scatter import Scatter, scatter, step_extrapolated
from ddpde.compare.sobolev import NegativeSobolev
from ddpde.compare.statistics import Extrapolation, Rate, extrapolate, fit_rate, half_width
from ddpde.compare.transport import sinkhorn_divergence, wasserstein

__all__ = [
    "ChaosGap",
    "Extrapolation",
    "NegativeSobolev",
    "QuadraticInteraction",
    "Rate",
    "Scatter",
    "SlicedW1",
    "SlicedW2",
    "chaos_gap",
    "cloud_energy",
    "energy_kernel",
    "extrapolate",
    "fit_rate",
    "floor",
    "gaussian_entropy",
    "gaussian_kernel",
    "gaussian_w2",
    "half_width",
    "law_energy",
    "law_risk",
    "mmd_squared",
    "prediction",
    "scatter",
    "sinkhorn_divergence",
    "step_extrapolated",
    "wasserstein",
]
