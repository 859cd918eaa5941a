"""The catalogue: problems of the papers and on bundled data, by name.

Each builder's keyword arguments are the keys of `[problem.parameters]` in a case file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from ddpde.errors import ProblemError
from ddpde.problem.activations import Array, PiecewiseLinear, erf, square
from ddpde.problem.classics import (
    Attraction,
    kuramoto,
    mckean_vlasov,
    ornstein_uhlenbeck,
    porous_medium,
    quadratic_interaction,
)
from ddpde.problem.data import GaussianInputs, IsotropicGaussians
from ddpde.problem.datasets import digits_pca, tabular_pca
from ddpde.problem.deconvolution import deconvolution
from ddpde.problem.initial import GaussianLaw
from ddpde.problem.losses import LOSSES
from ddpde.problem.mixture import gaussian_mixture
from ddpde.problem.noise import SGDNoise
from ddpde.problem.problem import Problem
from ddpde.problem.reductions import Radial
from ddpde.problem.schedules import PowerDecay, constant
from ddpde.problem.units import RidgeUnit

# Mei, Montanari & Nguyen 2018: the ramp of Figures 1-2 and the dented one of Figure 4
RAMP = PiecewiseLinear(knots=(0.5, 1.5), values=(-2.5, 7.5))
DENTED_RAMP = PiecewiseLinear(knots=(0.0, 0.5, 1.5), values=(-2.5, -4.0, 7.5))


def isotropic_gaussians(
    dim: int = 40,
    delta: float = 0.8,
    kappa: float = 0.8,
    activation: Literal["ramp", "dented_ramp"] = "ramp",
) -> Problem:
    """Classify centred isotropic Gaussians of different width (Mei et al. 2018, Example A).

    Noiseless one-pass SGD from w ~ N(0, kappa²/dim · I), reduced to the law of r = |w|.
    """
    ramps = {"ramp": RAMP, "dented_ramp": DENTED_RAMP}
    if activation not in ramps:
        raise ProblemError(f"activation = {activation!r}: one of {', '.join(ramps)}")
    if not kappa > 0:
        raise ProblemError(f"kappa = {kappa}: must be positive")
    return Problem(
        name="isotropic_gaussians",
        unit=RidgeUnit(ramps[activation], input_dim=dim),
        data=IsotropicGaussians(dim, delta),
        initial=GaussianLaw.isotropic(dim, kappa / np.sqrt(dim)),
        reduction=Radial(),
        parameters={"dim": dim, "delta": delta, "kappa": kappa, "activation": activation},
    )


def erf_teacher(
    temperature: float = 0.0,
    ridge: float = 0.0,
    mean: float = 0.5,
    std: float = 0.3,
    label_noise: float = 0.0,
    loss: Literal["squared", "half_squared"] = "squared",
    sgd_noise: float = 0.0,
    alpha: float = 0.0,
) -> Problem:
    """One weight, σ = erf(wx/√2), x ~ N(0, 1), teacher (σ₁ + σ₃)/2: closed-form potentials.

    sgd_noise: scale of the noise of SGD that its limit keeps, γ^{1/(1−α)}/M for batch M (De
    Bortoli et al. 2020, β = 1; their loss is the half squared one); alpha: of the schedule
    (1 + t)^−alpha.
    """
    if loss not in ("squared", "half_squared"):
        raise ProblemError(f"loss = {loss!r}: squared or half_squared")
    if not 0 <= alpha < 1:
        raise ProblemError(f"alpha = {alpha}: must lie in [0, 1)")
    if not sgd_noise >= 0:
        raise ProblemError(f"sgd_noise = {sgd_noise}: must be >= 0")

    def teacher(x):  # type: ignore[no-untyped-def]
        return 0.5 * (erf(x[:, 0]) + erf(3.0 * x[:, 0]))

    return Problem(
        name="erf_teacher",
        unit=RidgeUnit(erf, input_dim=1),
        data=GaussianInputs(1, teacher, label_noise, quadrature_points=200),
        loss=LOSSES[loss],
        noise=SGDNoise(sgd_noise) if sgd_noise else None,
        schedule=PowerDecay(alpha) if alpha else constant,
        initial=GaussianLaw((mean,), (std,)),
        temperature=temperature,
        ridge=ridge,
        parameters={
            "temperature": temperature,
            "ridge": ridge,
            "mean": mean,
            "std": std,
            "label_noise": label_noise,
            "loss": loss,
            "sgd_noise": sgd_noise,
            "alpha": alpha,
        },
    )


def quadratic_network(
    target: float = 1.0, variance: float = 0.25, temperature: float = 0.0, ridge: float = 0.0
) -> Problem:
    """One weight, σ = (wx)², x ~ N(0, 1), y = target · x²: Gaussian laws, exact at every N.

    From w ~ N(0, variance); the risk is 3 (⟨w²⟩ − target)².
    """
    if not variance > 0:
        raise ProblemError(f"variance = {variance}: must be positive")
    return Problem(
        name="quadratic_network",
        unit=RidgeUnit(square, input_dim=1),
        data=GaussianInputs(1, lambda x: target * x[:, 0] ** 2, quadrature_points=4),
        initial=GaussianLaw((0.0,), (float(np.sqrt(variance)),)),
        temperature=temperature,
        ridge=ridge,
        parameters={
            "target": target,
            "variance": variance,
            "temperature": temperature,
            "ridge": ridge,
        },
    )


def _double_well(theta: Array) -> Array:
    """x⁴/4 − x²/2 (n,) at points (n, 1)."""
    x = theta[:, 0]
    return x**4 / 4 - x**2 / 2


def dawson(
    temperature: float = 0.3, theta: float = 1.0, mean: float = 0.5, std: float = 0.5
) -> Problem:
    """Dawson's double well: drift −(x³ − x) − θ(x − mean), noise √(2T), from N(mean, std²).

    Below the critical temperature, where ⟨x²⟩ = T/θ, the symmetric state loses its stability
    to two ordered ones (Dawson 1983; Gomes & Pavliotis 2018, eq. 1.1).
    """
    if not theta > 0:
        raise ProblemError(f"theta = {theta}: must be positive")
    return Problem(
        name="dawson",
        potential=_double_well,
        interaction=Attraction(theta),
        initial=GaussianLaw((mean,), (std,)),
        temperature=temperature,
        parameters={"temperature": temperature, "theta": theta, "mean": mean, "std": std},
    )


CATALOGUE: dict[str, Callable[..., Problem]] = {
    "isotropic_gaussians": isotropic_gaussians,
    "erf_teacher": erf_teacher,
    "digits_pca": digits_pca,
    "tabular_pca": tabular_pca,
    "dawson": dawson,
    "ornstein_uhlenbeck": ornstein_uhlenbeck,
    "mckean_vlasov": mckean_vlasov,
    "kuramoto": kuramoto,
    "porous_medium": porous_medium,
    "deconvolution": deconvolution,
    "gaussian_mixture": gaussian_mixture,
    "quadratic_interaction": quadratic_interaction,
    "quadratic_network": quadratic_network,
}
