"""Refining, coarsening, growing: error estimates, transfers, and what cannot be adapted."""

import basix
import numpy as np
import pytest
from scipy.stats import norm

import ddpde
from ddpde.errors import MeshError
from ddpde.problem import GaussianLaw, Problem
from ddpde.problem.classics import TURN, kuramoto
from ddpde.space import Law, Space, adaptive_mesh
from ddpde.space.graded import DyadicLine

BOXES = {
    "interval": ([-3.0], [3.0], [24], None),
    "quadrilateral": ([-3.0, -3.0], [3.0, 3.0], [16, 16], None),
    "hexahedron": ([-1.5] * 3, [1.5] * 3, [8] * 3, None),
    "triangle": ([-3.0, -3.0], [3.0, 3.0], [16, 16], "triangle"),
    "tetrahedron": ([-1.5] * 3, [1.5] * 3, [5] * 3, "tetrahedron"),
}


def on(name, degree, depth=3):
    lower, upper, cells, cell = BOXES[name]
    return adaptive_mesh(Space(ddpde.box(lower, upper, cells=cells, cell=cell), degree), depth)


def bump(x):
    """N(0.1, 0.3² I)."""
    z = ((x - 0.1) ** 2).sum(axis=1) / 0.09
    return np.exp(-z / 2) / (2 * np.pi * 0.09) ** (x.shape[1] / 2)


def distance(mesh, u, function):
    """∫ |u − function| over the mesh."""
    space = mesh.space
    geometry = space.geometry[: space.n_cells]
    law = Law(0.0, space.cell, space.degree, space.geometry_degree, geometry, u)
    reference, weights = basix.make_quadrature(basix.CellType[law.cell], 2 * law.degree + 6)
    x, density, volume = law.at(reference)
    exact = function(x.reshape(-1, law.gdim)).reshape(density.shape)
    return float((np.abs(density - exact) * volume * weights).sum())


def mass(mesh, u):
    return np.einsum("ci,ci->", mesh.space.cell_means[0], u)


@pytest.mark.parametrize("degree", [1, 2, 3, 6])
@pytest.mark.parametrize("name", BOXES)
def test_the_estimate_is_the_error(name, degree):
    if name in ("hexahedron", "tetrahedron") and degree > 3:
        return
    mesh = on(name, degree)
    u = mesh.space.project(bump)
    estimate = mesh.total(mesh.errors(u))
    assert 0.5 < estimate / distance(mesh, u, bump) < 3


@pytest.mark.parametrize("name", BOXES)
def test_refining_loses_nothing_and_coarsening_little(name):
    mesh = on(name, 2)
    u = mesh.space.project(bump)
    errors = mesh.errors(u)
    halvings = (errors > np.quantile(errors, 0.8)).astype(int)
    fine = mesh.changed(halvings)
    assert fine.space.n_cells > mesh.space.n_cells
    v = mesh.transfer(u, fine)
    assert mass(fine, v) == pytest.approx(mass(mesh, u), rel=1e-14)
    back = fine.changed(np.full(len(fine.room), -1))
    assert back.space.n_cells == mesh.space.n_cells
    w = fine.transfer(v, back)
    order, base = np.argsort(back.space.original_cells), np.argsort(mesh.space.original_cells)
    if name in ("triangle", "tetrahedron"):
        assert np.abs(w[order] - u[base]).max() < 1e-3 * np.abs(u).max()
    assert mass(back, w) == pytest.approx(mass(mesh, u), rel=1e-14)
    # a law of the fine mesh, coarsened: as good as projected anew
    fresh = fine.space.project(bump)
    there = fine.transfer(fresh, back)
    assert mass(back, there) == pytest.approx(mass(fine, fresh), rel=1e-14)
    anew = distance(back, back.space.project(bump), bump)
    assert distance(back, there, bump) < 1.2 * anew


def test_refined_simplices_carry_the_same_polynomials():
    mesh = on("triangle", 2)
    quadratic = lambda x: 1.0 + x[:, 0] * x[:, 1] - x[:, 0] ** 2  # noqa: E731
    u = mesh.space.project(quadratic)
    fine = mesh.changed((np.arange(len(mesh.room)) % 7 == 0).astype(int) * 2)
    assert distance(fine, mesh.transfer(u, fine), quadratic) < 1e-11
    assert fine.changed(np.zeros(len(fine.room), dtype=int)) is fine


def test_refinement_of_simplices_does_not_creep():
    """A corner asks for more again and again, and gets it; the rest of the mesh stays as it is."""
    mesh = on("triangle", 2, depth=6)
    for _ in range(12):
        halvings = np.zeros(len(mesh.room), dtype=int)
        corner = np.argmax(mesh.rounds[-1].centres.sum(axis=1))
        halvings[corner] = min(mesh.room[corner], 1)
        mesh = mesh.changed(halvings)
    assert mesh.space.n_cells < 512 + 6 * 20
    assert np.abs(mesh.rounds[-1].volumes.min() / mesh.rounds[0].volumes[0] * 4**6 - 1) < 1e-9
    far = (mesh.rounds[-1].centres < 1.0).all(axis=1)
    assert np.allclose(mesh.rounds[-1].volumes[far], mesh.rounds[0].volumes[0])


def test_what_the_mesh_cut_off_is_remembered_on_later_meshes():
    law = GaussianLaw((0.0,), (0.3,))
    cut = Problem("cut", law, potential=lambda x: (x * x).sum(axis=1) / 2, temperature=0.5)
    run = ddpde.solve(cut, ddpde.interval(-1.03, 4, cells=8), times=[0.5], adapt=1e-3)
    assert len(set(run.history["cells"])) > 1
    assert run.truncated_mass == pytest.approx(norm.cdf(-1.03 / 0.3), rel=1e-3)


def test_a_circle_does_not_grow():
    """However much mass is at its ends."""
    mesh = ddpde.interval(0, TURN, cells=12)
    run = ddpde.solve(kuramoto(0.5, 1.5), mesh, times=[0.2], rtol=1e-4, grow=1e-6)
    assert set(run.history["cells"]) == {12}


def test_lines_halve_merge_and_grow():
    line = DyadicLine.coarsest(np.array([0.0, 1.0, 3.0]), depth=2)
    fine = line.changed(np.array([2, 0]))
    assert fine.ends.tolist() == [0.0, 0.25, 0.5, 0.75, 1.0, 3.0]
    assert fine.room.tolist() == [0, 0, 0, 0, 2]
    # the second and third quarter are no siblings; coarsest cells stay
    assert fine.changed(np.array([0, -1, -1, 0, -1])).ends.tolist() == fine.ends.tolist()
    assert fine.changed(np.array([-1, -1, 0, 0, 1])).ends.tolist() == [0, 0.5, 0.75, 1, 2, 3]
    assert line.changed(np.array([5, 0])).ends.tolist() == fine.ends.tolist()  # no deeper
    longer = fine.grown(2, 1, least=-1.5)
    assert longer.ends.tolist() == [-1.5, -1.0, *fine.ends.tolist(), 5.0]
    assert fine.grown(1, 0, least=0.0).ends.tolist() == fine.ends.tolist()


def half_square(x):
    return 0.5 * (x * x).sum(axis=1)


def test_meshes_that_cannot_be_adapted():
    law = GaussianLaw((0.0, 0.0), (0.3, 0.3))
    plane = Problem("p", law, potential=half_square, temperature=0.5)
    triangles = ddpde.box([-3, -3], [3, 3], cells=[4, 4], cell="triangle")
    with pytest.raises(MeshError, match="cannot grow"):
        ddpde.solve(plane, triangles, t_end=1.0, grow=1e-6)
    crooked = ddpde.box([-3, -3], [3, 3], cells=[4, 4])
    crooked.geometry.x[np.argmin(np.abs(crooked.geometry.x).sum(axis=1)), 0] += 0.2
    with pytest.raises(MeshError, match="no adaptive mesh"):
        ddpde.solve(plane, crooked, t_end=1.0, adapt=1e-3)
    pytest.importorskip("gmsh")
    with pytest.raises(MeshError, match="no adaptive mesh"):
        ddpde.solve(plane, ddpde.disc(2.0, size=0.5), t_end=1.0, adapt=1e-3)


def test_a_mesh_file_that_adapts():
    """meshes/l_shape.msh, from gmsh."""
    pytest.importorskip("gmsh")
    from pathlib import Path

    mesh = ddpde.from_gmsh(Path(__file__).parents[2] / "meshes" / "l_shape.msh")
    centre = mesh.geometry.x[:, :2].min(axis=0) + 0.25 * np.ptp(mesh.geometry.x[:, :2], axis=0)
    law = GaussianLaw(tuple(centre), (0.02, 0.02))
    heat = Problem("heat", law, potential=lambda x: 0.0 * x[:, 0], temperature=1e-3)
    run = ddpde.solve(heat, mesh, times=[0.01], degree=2, rtol=1e-4, adapt=3e-2)
    law = run.laws[-1]
    for axis in (0, 1):
        found = law.expectation(lambda x, a=axis: (x[:, a] - centre[a]) ** 2)
        assert found == pytest.approx(4e-4 + 2e-5, rel=1e-2)
    assert np.abs(run.history["mass"] - 1).max() < 1e-12
