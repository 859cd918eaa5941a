"""Output times inside the steps: they cost no step, and their error is of the method's order."""

import numpy as np
import pytest
from gaussians import linear_neuron

import ddpde
from ddpde.flow import EulerianFlow, LagrangianFlow
from ddpde.problem.catalogue import dawson, erf_teacher
from ddpde.step import METHODS, MethodOfLines

PLACE = 0.5125  # in s; 0.4 of a step lies before it

# steps until then: no more than rounding, no fewer than the asymptotic range allow
STEPS = {
    "rk3": (16, 32, 64),
    "rk5": (8, 16, 32),
    "rk8": (2, 3, 4),
    "imex3": (20, 40, 80),
    "imex4": (20, 40, 80),
}


def states(name, count, place):
    """The state at `place`, inside the last of `count` steps, and at the end of as many."""
    method = METHODS[name]

    def flow():
        if method.implicit:
            # less diffusion than what hides the order of a step (docs/orders.md)
            problem = linear_neuron(1, temperature=0.05, ridge=0.2)
            return EulerianFlow(problem, ddpde.interval(-3, 3, cells=24), 3, 1e-12)
        return LagrangianFlow(erf_teacher(), ddpde.interval(-1.9, 2.9, cells=12), 4, 1e-12)

    def keep(t, dt, u):
        if t > place > t - dt:
            found.append(stepper.within(before)(place).getArray().copy())
        u.copy(before)
        return True

    found, length = [], place / (count - 0.6)
    inside = flow()
    before = inside.state.copy()
    stepper = MethodOfLines(inside, method, rtol=1e-10, dt=length)
    stepper.advance(count * length, keep)
    ended = flow()
    MethodOfLines(ended, method, rtol=1e-10, dt=place / count).advance(place, lambda *_: True)
    return found[0], ended.state.getArray().copy()


@pytest.mark.parametrize("name", METHODS)
def test_order_inside_steps(name):
    order, counts = METHODS[name].order, STEPS[name]
    exact = states(name, 6 * counts[-1], PLACE)[1]
    inside, ended = np.array(
        [[np.abs(x - exact).max() for x in states(name, count, PLACE)] for count in counts]
    ).T
    found = np.log(inside[:-1] / inside[1:]) / np.log(np.divide(counts[1:], counts[:-1]))
    assert (found > order - 0.1).all(), (inside, found)
    if name != "rk8":  # whose steps are so long that what is inside them converges even faster
        assert found[-1] < order + 0.2, (inside, found)
        assert (inside < 4 * ended).all(), (inside, ended)


@pytest.mark.parametrize("name", ["imex4", "rk5", "rk8"])
def test_output_times_change_no_step(name):
    """Sixty of them or three hundred: the same steps, the same end, mass and positivity."""
    problem, mesh, space = dawson(0.3), ddpde.interval(-3, 3, cells=24), "eulerian"
    if not METHODS[name].implicit:
        problem, mesh, space = erf_teacher(), ddpde.interval(-1.9, 2.9, cells=12), "lagrangian"
    few, many = (
        ddpde.solve(problem, mesh, times=times, method=name, space=space, rtol=1e-5)
        for times in (np.linspace(0.0, 1.0, 61), np.linspace(0.0, 1.0, 301))
    )
    np.testing.assert_array_equal(few.history["t"], many.history["t"])
    np.testing.assert_array_equal(few.laws[-1].values, many.laws[-1].values)
    np.testing.assert_allclose(few.laws[1].geometry, many.laws[5].geometry, atol=1e-12)
    np.testing.assert_allclose(few.laws[1].values, many.laws[5].values, atol=1e-12)
    assert len(many.history["t"]) < 150 and len(many.laws) == 301
    np.testing.assert_allclose([law.time for law in many.laws], many.times)
    np.testing.assert_array_equal(many.outputs["t"], many.times)
    assert np.abs(many.outputs["mass"] - 1).max() < 1e-12
    assert many.outputs["minimum"].min() >= 0
    assert np.diff(many.free_energy()).max() < 1e-4  # ten times rtol
    assert np.diff(many.history["free_energy"]).max() <= 0
