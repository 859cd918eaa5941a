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
    """Flow, old densities, those with a tail that a step of TAU begins with, and the step with the
    norm not varied."""
    flow = VertexFlow(problem, mesh)
    u = flow.state.getArray().copy()
    phi = problem.internal.derivative(u)
    density = front.drawn(flow, u, u, phi, TAU, at_first=True)
    return flow, u, density, LaggedNewton(flow).solve(u, TAU, (density, phi), frozen=True)


def behind(flow, *densities):
    """The mass of the vertices behind the front of each."""
    return [flow.masses[front.within(flow, part)].sum() for part in densities]


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
    """From Barenblatt's profile; and the step's own tail, drawn, stays."""
    flow, u, density, found = drawn(porous_medium(dim, exponent), mesh())
    again = front.drawn(flow, u, found.density, found.potential, TAU)
    before, exact, first, then = behind(flow, u, found.density, density, again)
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
        flow, u, density, step = drawn(problem, ddpde.interval(0, 2 * np.pi, cells=200))
        found.append(density)
        before, exact, first = behind(flow, u, step.density, density)
        assert before < exact == pytest.approx(first, rel=1e-12)  # tails are drawn to the vertex
    assert np.allclose(found[0], np.roll(found[1], 100), rtol=0, atol=1e-12)
