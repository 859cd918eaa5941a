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

TAU = 0.05


def moved(problem, mesh):
    """Flow, old densities, and those that a step of TAU begins with."""
    flow = VertexFlow(problem, mesh)
    u = flow.state.getArray().copy()
    phi = problem.internal.derivative(u)
    density, _ = front.beyond(flow, u, phi, None, (u, phi), TAU)
    return flow, u, density


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
    """Barenblatt's profile: what is off is of second order in τ, or a vertex."""
    flow, u, density = moved(porous_medium(dim, exponent), mesh())
    later = porous_medium(dim, exponent, start=1.0 + TAU).initial_density(flow.points)
    before, found, exact = (flow.masses[part > 0].sum() for part in (u, density, later))
    assert abs(found - exact) < 0.35 * (exact - before)
    assert np.all(density >= u)


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
        _, _, density = moved(problem, ddpde.interval(0, 2 * np.pi, cells=200))
        found.append(density)
    assert np.allclose(found[0], np.roll(found[1], 100), rtol=0, atol=1e-12)
    reach = np.pi / 2 + TAU  # the pressure, cos θ, ends with the slope 1
    assert (found[0] > 0).sum() == 1 + 2 * np.floor(reach / (2 * np.pi / 200))
