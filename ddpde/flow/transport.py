"""Weak form of ∇·(ρ ∇φ): discontinuous Galerkin with upwind fluxes."""

from __future__ import annotations

import ufl
from dolfinx import fem

from ddpde.space import Space


def transport_form(space: Space, density: fem.Function, potential: fem.Function) -> fem.Form:
    """∫ v ∂_t ρ for ∂_t ρ = ∇·(ρ ∇φ), without flux through the boundary.

    φ is continuous, its normal slope on a facet is the mean of both sides, and mass leaves the
    cell it flows out of: exactly conservative, stable at temperature zero.
    """
    v = ufl.TestFunction(space.density)
    normal = ufl.FacetNormal(space.mesh)
    degree = 3 * space.degree + 1
    dx = ufl.dx(metadata={"quadrature_degree": degree})
    dS = ufl.dS(metadata={"quadrature_degree": degree})
    speed = -ufl.dot(ufl.avg(ufl.grad(potential)), normal("+"))  # from + to −
    flux = speed * ufl.avg(density) + 0.5 * abs(speed) * (density("+") - density("-"))
    inside = -density * ufl.dot(ufl.grad(potential), ufl.grad(v)) * dx
    return fem.form(inside - flux * (v("+") - v("-")) * dS)
