"""How far a law is from the global minimum of F, at temperature 0."""

from __future__ import annotations

from dataclasses import dataclass

import basix
import numpy as np
from dolfinx import mesh as dmesh

from ddpde.energy import Energy
from ddpde.errors import ProblemError
from ddpde.problem import Problem
from ddpde.space import Law, Space
from ddpde.space.quadrature import gauss


@dataclass(frozen=True)
class Certificate:
    """How far a law is from minimising F (temperature 0).

    A law is a global minimiser of a convex F where F'[ρ] attains its minimum on all of its
    support (Mei et al. 2018; Chizat & Bach 2018). minimum: least F'[ρ] − ⟨F'[ρ]⟩ over the points
    searched, at most 0, and `where` (k,) it is; support_excess: largest F' − min F' on the
    support. For convex F, F[ρ] − min F <= `gap` = −minimum (over laws on the region searched).
    """

    minimum: float
    where: np.ndarray
    support_excess: float

    @property
    def gap(self) -> float:
        return -self.minimum


def optimality(
    problem: Problem, law: Law, mesh: dmesh.Mesh | None = None, *, tail: float = 1e-3
) -> Certificate:
    """The certificate of `law` for `problem`, searched on the law's cells and those of `mesh`.

    Give a `mesh` where the law's own cells moved with the flow (Lagrangian) and so cover its
    support alone. Support: the points of highest density that hold all but `tail` of the mass.
    Called on rank 0, where laws are; `mesh` is then a mesh of that rank.

    Raises ProblemError where the temperature is positive, mass is not conserved, or there is an
    internal energy or noise (Mei et al. 2018, Chizat and Bach 2018 have neither).
    """
    if problem.temperature > 0:
        raise ProblemError(
            f"temperature = {problem.temperature:g}: F' is constant on no stationary state",
            "compare with ddpde.stationary(problem, mesh), or certify with temperature 0",
        )
    if not problem.normalised:
        raise ProblemError(
            "the certificate is for probabilities", "take mass = 1, and conserved = True"
        )
    if problem.diffuses:
        raise ProblemError(
            "the certificate knows neither internal energies nor noise",
            "certify a problem without them",
        )
    reference, weights = gauss(law.cell, 15)
    x, density, volume = law.at(reference)
    points, masses = x.reshape(-1, law.gdim), (density * volume * weights).ravel()
    # F' of a net is often least at the rim, which no Gauss point touches
    corners = law.at(np.asarray(basix.geometry(basix.CellType[law.cell])))[0]
    elsewhere = [corners.reshape(-1, law.gdim)]
    if mesh is not None:
        space = Space(mesh, 1)
        elsewhere += [space.quadrature(12).points.reshape(-1, space.gdim)]
        elsewhere += [space.geometry.reshape(-1, space.gdim)]
    searched = np.vstack([points, *elsewhere])
    energy = Energy(problem, (searched.min(axis=0), searched.max(axis=0)))
    S = energy.features(points)
    dual = energy.dual(energy.predictions(S, masses))
    values = energy.features(searched) @ dual + energy.local(searched)
    on_law = values[: len(points)]
    least = int(values.argmin())
    return Certificate(
        minimum=float(values[least] - masses @ on_law / masses.sum()),
        where=searched[least],
        support_excess=float(
            (on_law[_support(density.ravel(), masses, tail)] - values[least]).max()
        ),
    )


def _support(density: np.ndarray, masses: np.ndarray, tail: float) -> np.ndarray:
    """Indices of the points of highest density (n,) that hold all but `tail` of the mass."""
    order = np.argsort(-density)
    held = np.cumsum(masses[order])
    return order[: int(np.searchsorted(held, (1 - tail) * held[-1])) + 1]
