"""Features on a lattice of Chebyshev points, and how nodes are reached from it."""

import numpy as np
import pytest

import ddpde
from ddpde.energy import Energy, NodalFeatures, on_lattice
from ddpde.energy.lattice import (
    Interpolation,
    OwnLines,
    expanded,
    reduced,
    resolve,
    share_lines,
)
from ddpde.flow import EulerianFlow
from ddpde.problem import DataSet, GaussianLaw, Problem, RidgeUnit, relu, tanh

BOX = np.array([-2.0, 0.0]), np.array([1.0, 5.0])


def waves(points):
    x, y = points.T
    return np.stack([np.exp(np.sin(2 * x) * y / 4), np.cos(x * y), np.ones_like(x)], axis=1)


def product_nodes():
    x, y = np.meshgrid(np.linspace(-2, 1, 31), np.linspace(0, 5, 23) ** 1.0, indexing="ij")
    return np.random.default_rng(0).permutation(np.stack([x.ravel(), y.ravel()], axis=1))


def scattered_nodes():
    return BOX[0] + (BOX[1] - BOX[0]) * np.random.default_rng(0).random((700, 2))


@pytest.mark.parametrize("nodes, lines", [(product_nodes(), True), (scattered_nodes(), False)])
def test_interpolation_to_tolerance_and_its_transpose(nodes, lines):
    assert share_lines(nodes, BOX) == lines
    lattice = resolve([waves], BOX, 1e-8)
    known = waves(lattice.points)
    scale = np.abs(known).max()
    points, found = lattice.probe(known, lines=lines)
    assert np.abs(found - waves(points)).max() < 1e-7 * scale
    through = Interpolation(lattice, nodes, lines)
    found = np.stack([through(column) for column in known.T], axis=1)
    assert np.abs(found - waves(nodes)).max() < 1e-7 * scale
    masses = np.random.default_rng(1).random(len(nodes))
    assert known.T @ through.transposed(masses) == pytest.approx(found.T @ masses, rel=1e-12)


@pytest.mark.parametrize("nodes, lines", [(product_nodes(), True), (scattered_nodes(), False)])
def test_a_core_stands_for_the_lattice(nodes, lines):
    lattice = resolve([waves], BOX, 1e-8)
    known = waves(lattice.points)
    core, modes = reduced(lattice, known, 1e-6)
    assert core.size < 0.5 * known.size
    assert np.abs(expanded(core, modes) - known).max() < 1e-5 * np.abs(known).max()
    through = Interpolation(lattice, nodes, lines, modes)
    found = np.stack([through(column) for column in core.T], axis=1)
    assert np.abs(found - waves(nodes)).max() < 1e-5 * np.abs(known).max()
    masses = np.random.default_rng(1).random(len(nodes))
    assert core.T @ through.transposed(masses) == pytest.approx(found.T @ masses, rel=1e-12)


def test_rough_functions_have_no_lattice():
    assert resolve([lambda p: np.abs(p - 0.123)], BOX, 1e-6) is None


def network(activation, spread=1.0):
    rng = np.random.default_rng(0)
    x = spread * rng.uniform(-1, 1, (300, 1))
    return Problem(
        name="network",
        unit=RidgeUnit(activation, 1, bias=True),
        data=DataSet(x, np.tanh(2 * x[:, 0])),
        initial=GaussianLaw.isotropic(2, 0.5),
        temperature=0.1,
    )


@pytest.mark.parametrize("cell", ["quadrilateral", "triangle"])
def test_a_flow_on_the_lattice_is_the_flow_on_the_nodes(cell, monkeypatch):
    problem = network(tanh)
    mesh = ddpde.box((-3, -3), (3, 3), cells=(16, 16), cell=cell)
    flow = EulerianFlow(problem, mesh, 3, tolerance=1e-9)
    assert 0 < flow.feature_error < 1e-7
    monkeypatch.setattr("ddpde.flow.eulerian.compact", lambda *_: None)
    monkeypatch.setattr("ddpde.energy.functional._CHEAP", np.inf)
    exact = EulerianFlow(problem, mesh, 3)
    assert exact.feature_error == 0 and exact.energy.size == 300
    rates = [exact.state.duplicate(), exact.state.duplicate()]
    for each, rate in zip((flow, exact), rates, strict=True):
        each.transport(each.state, rate)
    size = rates[1].norm()
    rates[0].axpy(-1.0, rates[1])
    assert 0 < rates[0].norm() < 1e-7 * size
    found, expected = (each.diagnostics(exact.state) for each in (flow, exact))
    assert found["risk"] == pytest.approx(expected["risk"], rel=1e-8)


@pytest.mark.parametrize("cell", ["quadrilateral", "triangle"])
@pytest.mark.parametrize("cells, own", [((7, 5), None), ((18, 12), True), ((44, 40), False)])
def test_means_straight_from_coefficients_are_those_of_nodal_masses(cell, cells, own):
    """On the nodes themselves, on their own lines, on a lattice; graded, in either order."""
    mesh = ddpde.box((-1.8, -1.8), (2.0, 2.0), cells=cells, cell=cell)
    mesh.geometry.x[:, :2] = np.sinh(mesh.geometry.x[:, :2])
    flow = EulerianFlow(network(tanh, 5.0), mesh, 3)
    assert (flow.features.few_on_nodes is None) == (own is not None)
    if own is not None:
        lattice = flow.features.interpolation.lattice
        assert isinstance(lattice, OwnLines) == own
    u = np.random.default_rng(0).standard_normal(flow.space.local_shape)
    expected = flow.features.predictions(flow.space.nodal_masses(u))
    scale = np.abs(expected).max()
    assert flow.predictions(u) == pytest.approx(expected, abs=1e-13 * scale)


def test_the_field_on_the_lattice_is_the_derivative_of_the_energy():
    """Second-order remainder of the energy along a direction of masses: slope 2."""
    energy = Energy(network(tanh))
    box = np.full(2, -3.0), np.full(2, 3.0)
    nodes = box[0] + 6 * np.random.default_rng(2).random((4000, 2))
    features = NodalFeatures(energy, nodes, on_lattice(energy, nodes, box, 1e-6))
    rng = np.random.default_rng(3)
    masses, change = rng.random((2, len(nodes))) / len(nodes)
    f = features.predictions(masses)
    slope = features.field(energy.dual(f)) @ change
    remainders = [
        energy.nonlocal_energy(features.predictions(masses + h * change))
        - energy.nonlocal_energy(f)
        - h * slope
        for h in (1e-1, 1e-2)
    ]
    assert np.log10(remainders[0] / remainders[1]) == pytest.approx(2.0, abs=1e-3)


def test_piecewise_linear_units_keep_their_nodes():
    box = np.full(2, -3.0), np.full(2, 3.0)
    nodes = box[0] + 6 * np.random.default_rng(2).random((4000, 2))
    assert on_lattice(Energy(network(relu)), nodes, box, 1e-6) is None
