"""What is solved: unit, data law, loss, regulariser, temperature, initial law."""

from ddpde.problem.activations import PiecewiseLinear, erf, identity, relu, square, tanh
from ddpde.problem.data import DataLaw, DataSet, GaussianInputs, IsotropicGaussians, Nodes
from ddpde.problem.datasets import on_components
from ddpde.problem.initial import DensityLaw, GaussianLaw, InitialLaw, Mixture
from ddpde.problem.internal import Congestion, InternalEnergy, PorousMedium
from ddpde.problem.losses import HalfSquared, Logistic, Loss, Squared
from ddpde.problem.noise import GivenNoise, Noise, SGDNoise
from ddpde.problem.problem import Problem
from ddpde.problem.reductions import Radial, Reduction
from ddpde.problem.units import RidgeUnit, Unit

__all__ = [
    "GivenNoise",
    "Noise",
    "SGDNoise",
    "HalfSquared",
    "Congestion",
    "DataLaw",
    "DataSet",
    "DensityLaw",
    "GaussianInputs",
    "GaussianLaw",
    "InitialLaw",
    "InternalEnergy",
    "IsotropicGaussians",
    "Logistic",
    "Loss",
    "Mixture",
    "Nodes",
    "PiecewiseLinear",
    "PorousMedium",
    "Problem",
    "Radial",
    "Reduction",
    "RidgeUnit",
    "Squared",
    "Unit",
    "erf",
    "identity",
    "on_components",
    "relu",
    "square",
    "tanh",
]
