"""The monotone flow that brings a free energy down: its exchange between neighbours."""

import numpy as np
import pytest

import ddpde
from ddpde.flow import EulerianFlow
from ddpde.problem import DensityLaw, Problem

CELLS = 16


def rough(theta):
    """Of cells whose F_T' is constant inside and differs from the neighbours'; symmetric."""
    cell = np.minimum((CELLS * theta[:, 0]).astype(int), CELLS - 1)
    return 1 + 0.3 * (-1.0) ** np.minimum(cell, CELLS - 1 - cell)


def tilted(theta):
    """A law of less energy, with its mass elsewhere."""
    return 1 + 0.2 * (theta[:, 0] - 0.5)


def mean(flow, u):
    points, masses = flow.law(0.0, u).points()
    return masses @ points[:, 0]


def test_neighbours_exchange_mass():
    """Inside the cells nothing can fall, and the way back to the law before would tilt this one."""
    problem = Problem("flat", DensityLaw(1, rough), temperature=1.0)
    flow = EulerianFlow(problem, ddpde.interval(0, 1, cells=CELLS), 2)
    before, u = flow.state.duplicate(), flow.state.copy()
    before.setArray(flow.space.project(tilted).ravel())
    energy = flow.diagnostics(u)["free_energy"]
    assert flow.diagnostics(before)["free_energy"] < energy - 1e-3
    reached = flow.lower(u, before, energy - 1e-3)
    assert energy - 1.01e-3 < reached <= energy - 1e-3 + 1e-10
    assert mean(flow, before) - 0.5 > 1e-2
    assert mean(flow, u) == pytest.approx(0.5, abs=1e-8)
