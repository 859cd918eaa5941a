"""Order of convergence in space: L1 error against exact solutions; all of it in docs/orders.md."""

import numpy as np
import pytest
import rings
import warped
from gaussians import l1_error, linear_neuron

import ddpde


def slopes(problem, meshes, degree, t, rtol):
    errors = [
        l1_error(ddpde.solve(problem, mesh, times=[t], degree=degree, rtol=rtol).laws[-1], problem)
        for mesh in meshes
    ]
    return np.log2(np.array(errors[:-1]) / errors[1:])


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
def test_interval(degree):
    cells = {1: (32, 64, 128, 256), 2: (16, 32, 64, 128), 3: (16, 32, 64, 128), 4: (8, 16, 32, 64)}
    meshes = [ddpde.interval(-5, 5, cells=n) for n in cells[degree]]
    found = slopes(linear_neuron(1), meshes, degree, 0.25, 1e-9)
    assert np.all(found[-2:] > degree + 1 - 0.2), found


@pytest.mark.parametrize("cell", ["quadrilateral", "triangle"])
@pytest.mark.parametrize("degree", [1, 2])
def test_plane(cell, degree):
    meshes = [ddpde.box([-4, -4], [4, 4], cells=[n, n], cell=cell) for n in (10, 20, 40)]
    found = slopes(linear_neuron(2), meshes, degree, 0.1, 1e-6)
    assert np.all(found[-1:] > degree + 1 - 0.2), found


def test_cube():
    meshes = [ddpde.box([-2.5] * 3, [2.5] * 3, cells=[n] * 3) for n in (4, 8)]
    found = slopes(linear_neuron(3, temperature=0.2), meshes, 2, 0.05, 1e-4)
    assert found[-1] > 2.7, found


SMOOTH = {
    ("interval", 1): (16, 32, 64),
    ("interval", 2): (16, 32, 64),
    ("interval", 3): (16, 32, 64),
    ("interval", 4): (16, 24, 32),
    ("interval", 5): (16, 24, 32),
    ("interval", 6): (16, 24, 32),
    ("quadrilateral", 1): (8, 16, 32),
    ("quadrilateral", 2): (8, 16, 32),
    ("quadrilateral", 3): (8, 16, 24),
    ("quadrilateral", 4): (8, 12, 16),
    ("triangle", 1): (8, 16, 32),
    ("triangle", 2): (8, 16, 32),
    ("triangle", 3): (8, 16, 24),
    ("triangle", 4): (8, 12, 16),
    ("hexahedron", 1): (4, 8, 12),
    ("hexahedron", 2): (4, 8, 12),
}


@pytest.mark.parametrize(("cell", "degree"), SMOOTH)
def test_smooth_and_resolved(cell, degree):
    counts = SMOOTH[cell, degree]
    t, rtol = {"interval": (1.0, 1e-12), "hexahedron": (0.3, 1e-7)}.get(cell, (0.5, 1e-9))
    sharpness = 0.8 if degree == 6 else 0.0
    if sharpness:  # one wave's error would be that of rounding
        t = 0.25
    found = rings.slopes(rings.l1_errors(cell, degree, counts, t, rtol, sharpness), counts)
    assert np.all(np.abs(found[-2:] - degree - 1) < 0.1), found


ITO = {
    ("interval", 1): (16, 32, 64),
    ("interval", 2): (16, 32, 64),
    ("interval", 3): (16, 24, 32),
    ("interval", 4): (24, 32, 48),
    ("quadrilateral", 2): (8, 12, 16),
    ("triangle", 2): (8, 12, 16),
    ("hexahedron", 1): (8, 12),
}


@pytest.mark.parametrize(("cell", "degree"), ITO)
def test_noise_that_depends_on_the_place(cell, degree):
    counts = ITO[cell, degree]
    t, rtol = {"interval": (0.5, 1e-10), "hexahedron": (0.1, 1e-5)}.get(cell, (0.3, 1e-7))
    found = rings.slopes(warped.l1_errors(cell, degree, counts, t, rtol), counts)
    assert np.all(np.abs(found[-2:] - degree - 1) < 0.1), found


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_risk_of_mei2018(degree):
    """Functionals of an upwind scheme converge faster than the density, once it is resolved."""
    problem = ddpde.problems.isotropic_gaussians()
    errors = []
    for cells in (96, 192, 384):
        run = ddpde.solve(
            problem, ddpde.interval(0, 6, cells=cells), times=[0.5], degree=degree, rtol=1e-9
        )
        errors.append(abs(run.risk()[-1] - 1.127389274))
    found = np.log2(np.array(errors[:-1]) / np.maximum(errors[1:], 5e-10))
    assert np.all((found > degree + 1) | (np.array(errors[1:]) < 1e-8)), (errors, found)
