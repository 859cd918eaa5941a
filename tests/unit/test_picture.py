"""The picture of a run shows what falls and where the law is, in every dimension."""

import numpy as np
import pytest

import ddpde
from ddpde.problem import DensityLaw, GaussianLaw, Problem
from ddpde.space.raster import bulk, painted, raster


def quadratic(theta: np.ndarray) -> np.ndarray:
    return 0.5 * (theta**2).sum(axis=1)


def gaussian(dim: int) -> Problem:
    law = GaussianLaw.isotropic(dim, 0.5)
    return Problem(name="bowl", initial=law, potential=quadratic, temperature=0.2)


def run_in(dim: int, cell: str) -> ddpde.Trajectory:
    box = ddpde.box((-2,) * dim, (2,) * dim, cells=(6 if dim < 3 else 4,) * dim, cell=cell)
    return ddpde.solve(gaussian(dim), box, times=[0.01, 0.02], rtol=1e-3)


@pytest.mark.parametrize(("dim", "cell"), [(2, "triangle"), (3, "hexahedron")])
def test_maps_stand_beside_what_falls(dim, cell, tmp_path):
    run = run_in(dim, cell)
    figure = run.plot(tmp_path / "run.png")
    falls, *maps = figure.axes
    assert falls.get_ylabel() == "free energy"
    np.testing.assert_allclose(falls.lines[0].get_ydata(), run.history["free_energy"])
    assert len(maps) == 3 * (dim - 1)
    pairs = [("θ1", "θ2"), ("θ1", "θ3")][: dim - 1]
    assert [(ax.get_xlabel(), ax.get_ylabel()) for ax in maps] == [
        p for p in pairs for _ in range(3)
    ]
    assert (tmp_path / "run.png").stat().st_size > 10_000


def test_the_density_on_a_grid_is_the_law():
    run = run_in(2, "quadrilateral")
    box = [(-1.0, 1.0), (-0.5, 0.5)]
    x, y, z = raster(run.laws[0], (0, 1), box, (None, None))
    exact = np.exp(-2 * (x[None, :] ** 2 + y[:, None] ** 2)) / (np.pi / 2)
    assert np.abs(z - exact).max() < 0.02 * exact.max()
    low, high = bulk(run.laws[0], 0)
    assert low == pytest.approx(-high, abs=1e-9)
    assert 1.5 < high < 2.0  # 3.5 standard deviations


def test_a_surface_is_seen_from_both_sides():
    law = DensityLaw(3, lambda x: (1 + x[:, 2]) / (4 * np.pi))
    problem = Problem(name="sphere", initial=law, potential=lambda x: x[:, 0], temperature=0.5)
    run = ddpde.solve(problem, ddpde.sphere(size=0.5), times=[0.05], rtol=1e-2)
    points, density = painted(run.laws[0])
    np.testing.assert_allclose(density, (1 + points[..., 2].mean(axis=1)) / (4 * np.pi), atol=0.02)
    titles = [ax.get_title() for ax in run.plot().axes[1:]]
    assert [title[-6:] for title in titles] == ["θ3 > 0"] * 2 + ["θ3 < 0"] * 2


def test_both_parts_of_a_signed_measure_are_drawn():
    law = DensityLaw(2, lambda x: np.exp(-(x[:, 0] ** 2)) * (1 + x[:, 1] / 2) / np.sqrt(4 * np.pi))
    problem = Problem(name="pair", initial=law, potential=lambda x: x[:, 0] ** 2, temperature=0.1)
    mesh = ddpde.signed(ddpde.interval(-4, 4, cells=12))
    run = ddpde.solve(problem, mesh, times=[0.01], rtol=1e-3)
    curves = run.plot().axes[1].lines
    positive, negative = (np.trapezoid(*line.get_xydata().T[::-1]) for line in curves[:2])
    assert positive == pytest.approx(0.75, rel=1e-3)
    assert negative == pytest.approx(0.25, rel=1e-3)


def test_printing_a_run_says_what_it_is():
    run = run_in(2, "triangle")
    text = repr(run)
    assert len(text) < 300
    assert "bowl: t = 0 to 0.02" in text
    assert "72 cells (triangle)" in text
    assert f"free energy {run.free_energy()[0]:.6g} to" in text
    assert repr(run.laws[0]) == "Law(t = 0, 2 coordinates, 72 cells (triangle, degree 3))"
