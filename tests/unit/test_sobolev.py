"""Negative Sobolev distances against their kernels in free space, and points in meshes."""

import basix.ufl
import numpy as np
import pytest
from scipy.special import k1

import ddpde
from ddpde.compare import NegativeSobolev, floor
from ddpde.errors import MeshError, ProblemError
from ddpde.problem import GaussianLaw, Problem
from ddpde.space import PointLoads, Space


def half_square(theta):
    return 0.5 * (theta * theta).sum(axis=1)


def gaussian(dim, std=0.5, cells=12):
    problem = Problem("normal", GaussianLaw.isotropic(dim, std), potential=half_square)
    mesh = ddpde.box([-4] * dim, [4] * dim, cells=[cells] * dim)
    return ddpde.solve(problem, mesh, times=[0.0], degree=4).laws[0]


KERNELS = {
    1: lambda r, k: (1 + k * r) * np.exp(-k * r) / (4 * k**3),
    2: lambda r, k: np.where(r > 0, r * k1(k * np.maximum(r, 1e-12)) / (4 * np.pi * k),
                             1 / (4 * np.pi * k**2)),
    3: lambda r, k: (1 + k * r) * np.exp(-k * r) / (32 * np.pi * k**3),
}  # fmt: skip


def by_pairs(law, cloud, kappa):
    """The same by all pairs of points, the law's own too."""
    points, masses = law.points(5 if law.gdim < 3 else 2)
    kept = masses > 1e-10 * masses.max()
    points, masses = points[kept], masses[kept]
    every = np.concatenate([cloud, points])
    signed = np.concatenate([np.full(len(cloud), 1 / len(cloud)), -masses / masses.sum()])
    total = 0.0
    for begin in range(0, len(every), 500):
        part = slice(begin, begin + 500)
        r = np.sqrt(((every[part, None] - every[None]) ** 2).sum(axis=2))
        total += signed[part] @ KERNELS[law.gdim](r, kappa) @ signed
    return np.sqrt(total)


@pytest.mark.parametrize(
    ("dim", "cells", "kind", "degree", "rel"),
    [
        (1, 200, None, 2, 1e-4),
        (1, 40, None, 4, 1e-3),
        (2, 64, None, 2, 1e-3),
        (2, 64, "triangle", 2, 1e-3),
        (3, 12, None, 2, 1e-2),
        (3, 16, "tetrahedron", 2, 1.5e-2),
    ],
)
def test_free_space_kernel(dim, cells, kind, degree, rel):
    """A box of half width 4 and κ = 2: the boundary changes e⁻¹²."""
    law = gaussian(dim, cells=24 if dim == 1 else 12)
    rng = np.random.default_rng(dim)
    cloud = 0.2 + 0.4 * rng.standard_normal((60, dim))
    mesh = ddpde.box([-4] * dim, [4] * dim, cells=[cells] * dim, cell=kind)
    found = NegativeSobolev(law, mesh, kappa=2.0, degree=degree)(cloud)
    assert found == pytest.approx(by_pairs(law, cloud, 2.0), rel=rel)


def test_independent_draws_come_as_close_as_they_should():
    """N E D² = k(0) − ∬ k dρ dρ; exp(−κr)/2κ against N(0, 2s²) is an error function."""
    from scipy.special import erfcx

    law, kappa, width = gaussian(1, cells=40), 1.5, 300
    distance = NegativeSobolev(law, ddpde.interval(-6, 6, cells=600), kappa=kappa, power=1)
    draws = floor(law, distance, width, repeats=400, rng=np.random.default_rng(0))
    s = 0.5 * np.sqrt(2)
    mean_kernel = erfcx(kappa * s / np.sqrt(2)) / (2 * kappa)
    expected = 1 / (2 * kappa) - mean_kernel
    spread = 4 * np.std(draws**2) / np.sqrt(len(draws))
    assert width * np.mean(draws**2) == pytest.approx(expected, abs=width * spread)


@pytest.mark.parametrize("kind", ["triangle", "quadrilateral"])
def test_powers_smooth(kind):
    """(κ² − Δ)^{−p} of a cosine is (κ² + 2π²)^{−p}: an exact mode of the unit square."""
    mesh = ddpde.box([0, 0], [1, 1], cells=[24, 24], cell=kind)
    space = Space(mesh, 2)
    loads = PointLoads(space)
    x, w = np.polynomial.legendre.leggauss(60)
    x, w = (x + 1) / 2, w / 2
    points = np.stack(np.meshgrid(x, x, indexing="ij"), axis=-1).reshape(-1, 2)
    mode = np.cos(np.pi * points).prod(axis=1)
    load = loads(points, np.outer(w, w).ravel() * mode)
    from ddpde.space import ScreenedPoisson

    solver = ScreenedPoisson(space, 1.5)
    for power in (1, 2, 3, 4):
        expected = 0.25 / (1.5**2 + 2 * np.pi**2) ** power
        # the Gauss points do not know the cells: an error of the load, not of the solve
        assert solver.quadratic(load, power) == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize("kind", [None, "triangle"])
def test_points_are_found(kind):
    mesh = ddpde.box([-1, 0], [2, 3], cells=[7, 5], cell=kind)
    space = Space(mesh, 1)
    rng = np.random.default_rng(0)
    points = np.array([-1.0, 0.0]) + 3 * rng.random((5000, 2))
    points[:4] = [[-1, 0], [2, 3], [2, 0], [-1, 3]]
    masses = rng.random(5000)
    load = PointLoads(space)(points, masses)
    assert load.sum() == pytest.approx(masses.sum(), rel=1e-13)
    assert space.nodes.T @ load == pytest.approx(points.T @ masses, rel=1e-12)
    assert (space.nodes**2).T @ load == pytest.approx((points**2).T @ masses, rel=1e-12)


@pytest.mark.parametrize(
    ("lower", "upper", "cells"), [([-1, 0], [2, 3], [9, 7]), ([-1, 0, 1], [2, 3, 2], [5, 4, 3])]
)
def test_walks_end_where_the_tree_says(lower, upper, cells):
    """Cells of very different sizes."""
    cell = "triangle" if len(cells) == 2 else "tetrahedron"
    mesh = ddpde.box(lower, upper, cells=cells, cell=cell)
    low, extent = np.array(lower), np.subtract(upper, lower)
    x = mesh.geometry.x[:, : len(cells)]
    x[:] = low + extent * ((x - low) / extent) ** 4  # crowded in one corner
    loads = PointLoads(Space(mesh, 1))
    points = low + extent * np.random.default_rng(2).random((4000, len(cells))) ** 4
    points[:40] = x[:40]  # vertices, of several cells each
    found, expected = loads.locate(points), loads._in_tree(points)
    np.testing.assert_array_equal(found[0], np.arange(4000))
    np.testing.assert_array_equal(expected[0], np.arange(4000))
    rest = slice(40, None)
    np.testing.assert_array_equal(found[1][rest], expected[1][rest])
    np.testing.assert_allclose(found[2][rest], expected[2][rest], atol=1e-9)


def test_walks_around_a_hole():
    from dolfinx import mesh as dmesh  # after ddpde, which finds its libraries

    ring = ddpde.annulus(0.6, 1.0, size=0.1)
    straight = dmesh.create_mesh(
        ring.comm,
        ring.geometry.dofmaps[0][:, :3],
        basix.ufl.element("Lagrange", "triangle", 1, shape=(2,)),
        ring.geometry.x[:, :2],
    )
    rng = np.random.default_rng(3)
    angle, radius = 2 * np.pi * rng.random(3000), 0.62 + 0.36 * rng.random(3000)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    loads = PointLoads(Space(straight, 1))
    which, cells, _ = loads.locate(points)
    np.testing.assert_array_equal(which, np.arange(3000))
    np.testing.assert_array_equal(cells, loads._in_tree(points)[1])
    for outside in ([0.0, 0.0], [0.9, 0.9], [np.nan, 0.7], [1e9, 0.0]):
        with pytest.raises(MeshError, match="1 of 2 points"):
            loads.locate(np.array([[0.8, 0.0], outside]))


def test_curved_cells():
    mesh = ddpde.disc(1.0, size=0.4)  # geometry of degree 2
    space = Space(mesh, 1)
    rng = np.random.default_rng(1)
    angle, radius = 2 * np.pi * rng.random(2000), 0.99 * np.sqrt(rng.random(2000))
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    load = PointLoads(space)(points, np.full(2000, 1 / 2000))
    assert load.sum() == pytest.approx(1.0, rel=1e-12)
    # isoparametric: coordinates are in the space
    assert space.nodes.T @ load == pytest.approx(points.mean(axis=0), abs=1e-10)


def test_bad_input():
    law = gaussian(2, cells=6)
    mesh = ddpde.box([-4, -4], [4, 4], cells=[4, 4])
    with pytest.raises(ProblemError, match="infinite energy"):
        NegativeSobolev(law, mesh, power=1)
    with pytest.raises(ProblemError, match="kappa"):
        NegativeSobolev(law, mesh, kappa=0.0)
    with pytest.raises(ProblemError, match="degree"):
        NegativeSobolev(law, mesh, degree=0)
    with pytest.raises(ProblemError, match="rank 0 needs the law"):
        NegativeSobolev(None, mesh)
    distance = NegativeSobolev(law, mesh)
    with pytest.raises(MeshError, match="2 of 3 points lie outside"):
        distance(np.array([[5.0, 0.0], [0.0, 0.0], [np.nan, 0.0]]))
    with pytest.raises(MeshError, match="shape"):
        distance(np.zeros((3, 1)))
