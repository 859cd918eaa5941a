"""Discrete operators: against each other, and against what calculus says."""

import numpy as np
import pytest
from mpi4py import MPI
from stiffness import Assembled

import ddpde
from ddpde.flow.condensed import CondensedDiffusion
from ddpde.flow.fast_diagonal import TensorDiffusion
from ddpde.flow.limiter import PositivityLimiter
from ddpde.flow.transport import Transport
from ddpde.space import BoxRecipe, Space, tensor_grid

BOXES = {
    "interval": ((-1.0,), (2.0,), (7,), None),
    "quadrilateral": ((-1.0, 0.0), (2.0, 1.0), (4, 3), None),
    "hexahedron": ((0.0, 0.0, 0.0), (1.0, 2.0, 1.5), (2, 3, 2), None),
    "triangle": ((-1.0, 0.0), (2.0, 1.0), (4, 3), "triangle"),
    "tetrahedron": ((0.0, 0.0, 0.0), (1.0, 2.0, 1.5), (2, 2, 2), "tetrahedron"),
}


def space_on(name, degree):
    lower, upper, cells, cell = BOXES[name]
    return Space(ddpde.box(lower, upper, cells=cells, cell=cell), degree)


def random(space):
    return np.random.default_rng(0).standard_normal(space.local_shape)


@pytest.mark.parametrize("name", ["interval", "quadrilateral", "hexahedron"])
def test_fast_diagonalisation_is_the_sparse_matrix(name):
    space = space_on(name, 3)
    fast, matrix = TensorDiffusion(tensor_grid(space)), Assembled(space, bent=False)
    u = random(space)
    assert np.allclose(fast.apply(u), matrix.apply(u), rtol=1e-11, atol=1e-9)
    for shift, factor in ((1.0, 1e-3), (2.0, 1e-3), (50.0, 0.2)):
        found = fast.solve(shift, factor, u)
        assert np.allclose(shift * found + factor * matrix.apply(found), u, atol=1e-10)


@pytest.mark.parametrize("name", [*BOXES, "periodic", "circle", "disc", "sphere"])
def test_unknowns_on_facets_give_the_sparse_matrix(name):
    if name == "periodic":
        mesh = ddpde.box((0, 0), (1, 2), cells=(4, 5), cell="triangle")
        space = Space(mesh, 3, (1.0, 2.0))
    elif name == "circle":  # of one cell, which faces itself
        space = Space(ddpde.interval(0.0, 1.0, cells=1), 3, (1.0,))
    elif name in ("disc", "sphere"):
        space = Space(getattr(ddpde, name)(1.0, size=0.7), 3)
    else:
        space = space_on(name, 3)
    u = random(space)
    expected = Assembled(space, bent=True).apply(u)
    found = CondensedDiffusion(space, space.facets()).apply(u)
    # on curved facets λ is a polynomial of the reference facet's, and a slope is none
    allowed = 1e-5 if name in ("disc", "sphere") else 1e-12
    assert np.abs(found - expected).max() < allowed * np.abs(expected).max()


@pytest.mark.parametrize("name", ["triangle", "tetrahedron"])
def test_other_meshes_are_no_tensor_grids(name):
    assert tensor_grid(space_on(name, 1)) is None


@pytest.mark.parametrize("name", BOXES)
def test_diffusion_is_coercive_conservative_and_exact_on_polynomials(name):
    space = space_on(name, 2)
    diffusion = CondensedDiffusion(space, space.facets())
    u = random(space)
    rule = space.quadrature(6)
    phi = rule.basis(2)
    mass = np.einsum("cq,qi,qj->cij", rule.weights, phi, phi)
    loss = diffusion.apply(u)
    assert abs(np.einsum("ci,ci->", space.cell_means[0], loss)) < 1e-9
    assert np.einsum("ci,cij,cj->", u, mass, loss) > 0
    # −Δ of a quadratic, tested against functions that vanish near the boundary, is a constant;
    # tested against one it is the flux that the no-flux condition removes
    x = space.project(lambda p: p[:, 0])
    y = space.project(lambda p: np.ones(len(p)))
    energy = np.einsum("ci,cij,cj->", x, mass, diffusion.apply(x))
    assert energy == pytest.approx(space.cell_means[1].sum(), rel=1e-10)  # ∫ |∇x|²
    assert np.abs(diffusion.apply(y)).max() < 1e-8


@pytest.mark.parametrize("mesh", ["triangle", "tetrahedron", "disc"])
def test_shifted_solves_and_their_mass(mesh):
    """By complete factors and, in space, incomplete ones; on a disc M is no diagonal matrix."""
    space = Space(ddpde.disc(1.0, size=0.6), 2) if mesh == "disc" else space_on(mesh, 2)
    diffusion = CondensedDiffusion(space, space.facets())
    u = random(space)
    mass = np.einsum("ci,ci->", space.cell_means[0], u)
    assert diffusion.factorises == (mesh != "tetrahedron")
    for shift, factor in ((1.0, 1e-4), (3.0, 1e-2), (2.0, 1e-2), (1e-3, 1.0)):
        x = diffusion.solve(shift, factor, u)
        residual = shift * x + factor * diffusion.apply(x) - u
        assert np.abs(residual).max() < 1e-9
        kept = shift * np.einsum("ci,ci->", space.cell_means[0], x)
        assert kept == pytest.approx(mass, abs=1e-12)


def test_time_steps_are_equal_where_factors_are_costly(monkeypatch):
    shifts = []
    solve = CondensedDiffusion.solve

    def noting(self, shift, factor, b):
        shifts.append(shift)
        return solve(self, shift, factor, b)

    monkeypatch.setattr(CondensedDiffusion, "solve", noting)
    mesh = ddpde.box((-4, -4), (4, 4), cells=(10, 10), cell="triangle")
    problem = ddpde.problems.ornstein_uhlenbeck(mean=(1.0, 0.5), std=(0.7, 0.6))
    run = ddpde.solve(problem, mesh, times=[0.5, 1.0], degree=4, rtol=1e-5)
    assert run.times == pytest.approx([0.0, 0.5, 1.0], abs=1e-15)
    steps = np.diff(run.history["t"])
    assert steps.min() > 1e-3  # no crumbs before an output time
    changes = np.abs(np.diff(shifts)) > 1e-9 * np.array(shifts[1:])
    assert changes.sum() < 0.5 * len(steps)


def test_incomplete_factors_give_way_where_they_take_long():
    space = Space(ddpde.box((0, 0, 0), (1, 1, 1), cells=(8, 8, 8), cell="tetrahedron"), 1)
    diffusion = CondensedDiffusion(space, space.facets())
    u = random(space)
    diffusion.solve(1.0, 1e-4, u)
    assert not diffusion.factorises
    x = diffusion.solve(1e-3, 1.0, u)
    assert diffusion.factorises
    assert np.abs(1e-3 * x + diffusion.apply(x) - u).max() < 1e-8


@pytest.mark.parametrize("name", BOXES)
def test_transport_of_smooth_functions(name):
    """Moments of ∇·(ρ∇φ) with ρ, φ polynomials: exact against test functions inside."""
    space = space_on(name, 2)
    transport = Transport(space, space.facets())
    phi = (space.nodes**2).sum(axis=1)
    transport.set_potential(phi)
    rho = space.project(lambda p: 1.0 + p[:, 0])
    moments = transport.moments(rho)
    assert abs(_total(space, moments)) < 1e-11  # conservative
    # against v = x: −∫ ρ ∂_x φ = −∫ (1 + x) 2x
    v = space.project(lambda p: p[:, 0])
    rule = space.quadrature(6)
    x = rule.points[..., 0]
    expected = -(rule.weights * (1 + x) * 2 * x).sum()
    assert np.einsum("ci,ci->", v, moments) == pytest.approx(expected, rel=1e-10)


def _total(space, moments):
    one = space.project(lambda p: np.ones(len(p)))
    return np.einsum("ci,ci->", one, moments)


def test_upwind_takes_from_where_it_comes():
    """A step at rest downstream of the front stays untouched by it."""
    space = Space(ddpde.interval(0, 1, cells=4), 1)
    transport = Transport(space, space.facets())
    transport.set_potential(-space.nodes[:, 0])  # drift to the right
    u = np.zeros(space.local_shape)
    first = np.argmin(space.geometry.mean(axis=1)[:, 0])
    u[first, 0] = 1.0
    moments = np.einsum("ci,ci->c", space.project(lambda p: np.ones(len(p))), transport.moments(u))
    order = np.argsort(space.geometry.mean(axis=1)[:, 0])
    assert np.allclose(moments[order], [-1, 1, 0, 0])


def test_limiter_keeps_mass_and_makes_positive():
    space = space_on("triangle", 3)
    u = space.project(lambda p: np.exp(-40 * ((p - 0.5) ** 2).sum(axis=1)))
    u[:12] = space.project(lambda p: 1 + p[:, 0] ** 2)[:12]
    u[20, 0] -= 1e-3  # a negative mean as well
    limiter = PositivityLimiter(space)
    mass = np.einsum("ci,ci->", space.cell_means[0], u)
    assert limiter.minimum(u) < 0
    limited = limiter(u)
    assert limiter.minimum(limited) >= -1e-15
    assert np.einsum("ci,ci->", space.cell_means[0], limited) == pytest.approx(mass, rel=1e-14)
    untouched = (u @ space.check_values.T).min(axis=1) >= 0
    assert untouched.sum() > 0 and np.allclose(limited[untouched], u[untouched], rtol=1e-2)
    again = limiter(limited)
    assert np.allclose(again, limited, atol=1e-13)


def test_potential_masses_add_up():
    space = space_on("tetrahedron", 2)
    u = space.project(lambda p: np.ones(len(p)))
    masses = space.nodal_masses(u)
    assert masses.sum() == pytest.approx(space.cell_means[1].sum(), rel=1e-12)
    assert masses @ space.nodes[:, 1] == pytest.approx(3.0 * 1.0, rel=1e-12)  # ∫ y over the box
    assert MPI.COMM_WORLD.size == 1


def test_wider_boxes_leave_circles_alone():
    box = BoxRecipe((0.0, -1.0), (6.0, 1.0), (12, 4))
    wider = box.wider((-np.inf, -np.inf), (6.0, None))
    assert wider == BoxRecipe((0.0, -1.5), (6.0, 1.5), (12, 6))
    assert box.wider((-np.inf, -1.0)).lower == (-0.5, -1.0)
