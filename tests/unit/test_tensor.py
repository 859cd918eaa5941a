"""Tensor grids with lines of any spacing: diffusion, and projections from one to another."""

import numpy as np
import pytest
from stiffness import Assembled

import ddpde
from ddpde.flow.fast_diagonal import TensorDiffusion, affordable
from ddpde.space import Space, tensor_grid
from ddpde.space.tensor import line_projection

LINES = ([-1.0, -0.5, 0.1, 0.15, 2.0], [0.0, 0.7, 0.8, 1.0], [0.0, 1.0, 1.25])


def graded(dim, degree, periods=()):
    lines = LINES[:dim]
    counts = [len(line) - 1 for line in lines]
    mesh = ddpde.box([0.0] * dim, counts, cells=counts)
    for axis, line in enumerate(lines):
        mesh.geometry.x[:, axis] = np.interp(mesh.geometry.x[:, axis], range(len(line)), line)
    return Space(mesh, degree, periods)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_diffusion_on_graded_lines_is_the_sparse_matrix(dim):
    space = graded(dim, 2)
    grid = tensor_grid(space)
    assert all(np.allclose(grid.lines[j], LINES[axis]) for j, axis in enumerate(grid.axes))
    fast, matrix = TensorDiffusion(grid), Assembled(space, bent=False)
    u = np.random.default_rng(0).standard_normal(space.local_shape)
    expected = matrix.apply(u)
    assert np.abs(fast.apply(u) - expected).max() < 1e-12 * np.abs(expected).max()
    solved = fast.solve(1.0, 0.2, u)
    assert np.allclose(solved + 0.2 * matrix.apply(solved), u, atol=1e-9)


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("degree", [1, 2, 3])
def test_diffusion_by_cosine_transforms_is_the_sparse_matrix(dim, degree, monkeypatch):
    monkeypatch.setattr("ddpde.flow.fast_diagonal._LONG", 3)
    mesh = ddpde.box([0.0] * dim, [1.0, 2.0, 0.7][:dim], cells=[5, 4, 3][:dim])
    space = Space(mesh, degree)
    fast, matrix = TensorDiffusion(tensor_grid(space)), Assembled(space, bent=False)
    u = np.random.default_rng(0).standard_normal(space.local_shape)
    expected = matrix.apply(u)
    assert np.abs(fast.apply(u) - expected).max() < 1e-12 * np.abs(expected).max()
    solved = fast.solve(1.0, 0.2, u)
    assert np.allclose(solved + 0.2 * matrix.apply(solved), u, atol=1e-9)
    mass = space.cell_means[0]
    assert np.sum(mass * solved) == pytest.approx(np.sum(mass * u), abs=1e-13)


def test_periodic_graded_line():
    space = graded(1, 3, (3.0,))
    fast, matrix = TensorDiffusion(tensor_grid(space)), Assembled(space, bent=False)
    u = np.random.default_rng(0).standard_normal(space.local_shape)
    expected = matrix.apply(u)
    assert np.abs(fast.apply(u) - expected).max() < 1e-12 * np.abs(expected).max()


def test_a_box_with_a_crooked_line_is_no_tensor_grid():
    mesh = ddpde.box([0, 0], [1, 1], cells=[3, 3])
    inner = np.argmin(np.abs(mesh.geometry.x[:, :2] - 1 / 3).sum(axis=1))
    mesh.geometry.x[inner, 0] += 0.05
    assert tensor_grid(Space(mesh, 1)) is None


@pytest.mark.parametrize("degree", [1, 4, 6])
def test_projection_between_lines(degree):
    """Exact for polynomials, conservative in each new cell, back and forth the identity."""
    coarse = np.array([-1.0, 0.5, 2.0, 3.0])
    fine = np.array([-1.0, 0.0, 0.5, 1.0, 1.25, 2.0, 3.0])
    order = degree + 1
    u = np.random.default_rng(0).standard_normal(3 * order)
    there, back = line_projection(coarse, fine, degree), line_projection(fine, coarse, degree)
    assert np.allclose(back @ (there @ u), u, atol=1e-12)
    shifted = np.array([-1.0, -0.3, 1.1, 3.0])
    v = line_projection(coarse, shifted, degree) @ u
    moved = line_projection(fine, np.unique(np.append(fine, shifted)), degree) @ (there @ u)
    pieces = moved[::order] * np.diff(np.unique(np.append(fine, shifted)))
    owner = np.searchsorted(shifted, np.unique(np.append(fine, shifted))[:-1], "right") - 1
    masses = np.bincount(owner, pieces)
    assert np.allclose(v[::order] * np.diff(shifted), masses, atol=1e-13)


def test_projection_onto_a_longer_line_adds_nothing():
    u = np.random.default_rng(0).standard_normal(2 * 3)
    longer = line_projection(np.array([0.0, 1.0, 2.0]), np.array([-1.0, 0.0, 1.0, 2.0, 4.0]), 2) @ u
    assert np.allclose(longer, np.concatenate([np.zeros(3), u, np.zeros(3)]), atol=1e-14)


def test_long_lines_need_no_dense_matrix():
    """Thousands of cells, equal to rounding or not: eigenvectors of the line would fill memory."""
    line = ddpde.interval(-3, 4, cells=20_000)  # whose cells differ by 4e-12 of their length
    grid = tensor_grid(Space(line, 3))
    assert grid is not None and affordable(grid)
    uneven = ddpde.interval(-3, 4, cells=2500)
    uneven.geometry.x[:, 0] += 1e-5 * np.sin(uneven.geometry.x[:, 0])
    grid = tensor_grid(Space(uneven, 3))
    assert grid is not None and not affordable(grid)
    problem = ddpde.problems.ornstein_uhlenbeck(mean=(1.0,), std=(0.5,))
    run = ddpde.solve(problem, uneven, times=[0.1], rtol=1e-3)
    assert run.mean()[-1, 0] == pytest.approx(np.exp(-0.1), abs=1e-6)
    assert abs(run.history["mass"][-1] - 1) < 1e-10
