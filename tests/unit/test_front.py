"""Where a JKO step begins: fronts of laws without entropy, moved."""

import numpy as np
import pytest

import ddpde
from ddpde.flow.vertices import VertexFlow
from ddpde.problem import Problem
from ddpde.problem.classics import porous_medium
from ddpde.problem.initial import DensityLaw
from ddpde.problem.internal import PorousMedium
from ddpde.step import front
from ddpde.step.lagged_newton import LaggedNewton

TAU = 0.2


def drawn(problem, mesh):
    """Flow, old densities, and those with a tail that a step of TAU begins with."""
    flow = VertexFlow(problem, mesh)
    u = flow.state.getArray().copy()
    return flow, u, front.drawn(flow, u, u, problem.internal.derivative(u), TAU, at_first=True)


@pytest.mark.parametrize(
    "dim, exponent, mesh",
    [
        (1, 2.0, lambda: ddpde.interval(-3.0, 3.0, cells=500)),
        (1, 3.0, lambda: ddpde.interval(-3.0, 3.0, cells=500)),
        (2, 2.0, lambda: ddpde.box((-2.4,) * 2, (2.4,) * 2, cells=(160, 160))),
        (2, 2.0, lambda: ddpde.disc(2.0, size=0.06)),
    ],
    ids=("line", "line, cubic", "squares", "triangles"),
)
def test_a_front_is_where_it_will_be(dim, exponent, mesh):
    """A step from Barenblatt's profile with the norm not varied; and a tail drawn stays."""
    flow, u, density = drawn(porous_medium(dim, exponent), mesh())
    found = LaggedNewton(flow).solve(
        u, TAU, (density, flow.problem.internal.derivative(u)), frozen=True
    )
    again = front.drawn(flow, u, found.density, found.potential, TAU)
    parts = (u, found.density, density, again)
    before, exact, first, then = (flow.masses[front.within(flow, part)].sum() for part in parts)
    assert abs(first - exact) < 0.4 * (exact - before)
    assert abs(then - exact) < 0.2 * (exact - before)


def cosine(theta):
    """Half a circle's cosine."""
    return np.maximum(np.cos(theta[:, 0]), 0.0) / 2.0


def test_across_a_period():
    """A law on both sides of where the circle is cut moves as one that is not cut does."""
    found = []
    for shift in (0.0, np.pi):
        problem = Problem(
            name="circle",
            internal=PorousMedium(2.0),
            initial=DensityLaw(1, lambda theta, s=shift: cosine(theta + s), (0.0, 2 * np.pi)),
            periods=(2 * np.pi,),
        )
        _, u, density = drawn(problem, ddpde.interval(0, 2 * np.pi, cells=200))
        found.append(density)
    assert np.allclose(found[0], np.roll(found[1], 100), rtol=0, atol=1e-12)
    assert (density > 0).sum() > (u > 0).sum() + 2
