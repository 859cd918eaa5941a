"""Order of convergence in time, with fixed steps; each method declares its order."""

import numpy as np
import pytest
from gaussians import linear_neuron

import ddpde
from ddpde.step import METHODS


@pytest.mark.parametrize("name", METHODS)
def test_declared_order(name):
    method = METHODS[name]
    mesh = ddpde.interval(-3, 3, cells=12)
    problem = linear_neuron(1, temperature=0.3 if method.implicit else 0.0, ridge=0.2)
    steps = {"rk8": (2, 3, 4, 6)}.get(name, (8, 16, 32, 64))
    space = "eulerian"
    if name == "rk8":  # meant for the Lagrangian method, where no CFL limit hides its order
        space, mesh = "lagrangian", ddpde.interval(-2.5, 1.5, cells=12)
    if not method.implicit and space == "eulerian":
        steps = (64, 128, 256, 512) if method.order == 3 else (48, 64, 96, 128)

    def risk(count):
        run = ddpde.solve(
            problem, mesh, times=[1.0], degree=3, method=name, dt=1.0 / count, space=space
        )
        return run.risk()[-1]

    errors = np.abs([risk(n) - risk(8 * steps[-1]) for n in steps])
    found = np.log(errors[:-1] / errors[1:]) / np.log(np.divide(steps[1:], steps[:-1]))
    assert np.all(found[-2:] > method.order - 0.35), (errors, found)
