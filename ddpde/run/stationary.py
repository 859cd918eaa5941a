"""Stationary states at T > 0: the fixed point ρ ∝ exp(−F'[ρ]/T).

A law enters F' through the means f_m = ∫ S_m dρ alone (`ddpde.energy.functional`), so the
fixed point is R(f) = f − ∫ S dρ_f = 0 with ρ_f = exp(−(S·∂G(f) + r)/T)/Z: M equations, whatever
the mesh. Their Jacobian I + Cov_{ρ_f}(S) diag(∂²G)/T has real eigenvalues, and as many negative
ones as the free energy's second variation: the state is unstable where there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from dolfinx import mesh as dmesh
from mpi4py import MPI

from ddpde.comm import log, sum_over_ranks
from ddpde.energy import Energy
from ddpde.errors import ProblemError, SolverError
from ddpde.flow.checks import bounding_box, check_mesh, initial_density
from ddpde.problem import Problem
from ddpde.space import CellQuadrature, Law, Space, gathered

MOST_FEATURES = 3000  # the Newton matrix is dense
RULE_DEGREE = 14  # of quadrature beyond twice the density's: exp(−F'/T) is no polynomial
_CACHED = 40_000_000  # entries of S kept in memory; beyond, S is evaluated block by block
_BLOCK = 4_000_000
_RELAXATIONS = 60
_NULL = 1e-6  # eigenvalues along which Newton would amplify rounding
NEUTRAL = 1e-8  # an eigenvalue of the Jacobian this close to zero is not called negative


class Cloud:
    """Quadrature points of a mesh with the features there.

    points (n, k), weights (n,) with the volume element, this rank's only; S (n, M), in blocks.
    """

    def __init__(self, energy: Energy, rule: CellQuadrature, comm: MPI.Comm) -> None:
        self.comm = comm
        self.rule = rule
        self.points = rule.points.reshape(-1, rule.points.shape[2])
        self.weights = rule.weights.ravel()
        self._energy = energy
        self._r = energy.local(self.points)
        self.size = energy.features(self.points[:1]).shape[1]
        if self.size > MOST_FEATURES:
            raise ProblemError(
                f"{self.size} features: the Newton matrix of a stationary state is dense",
                f"at most {MOST_FEATURES}: fewer data nodes or samples; or solve() for long times",
            )
        self._S = None
        if len(self.points) * self.size <= _CACHED:
            self._S = energy.features(self.points)
        finite = np.isfinite(self._r).all() and (self._S is None or np.isfinite(self._S).all())
        if not comm.allreduce(bool(finite), MPI.LAND):
            raise ProblemError("the energy is not finite on the mesh", "shrink the mesh")

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Slices of the points, whole cells each, and S there."""
        per_cell = self.rule.weights.shape[1]
        step = per_cell * max(1, _BLOCK // max(1, self.size * per_cell))
        for start in range(0, len(self.points), step):
            rows = slice(start, start + step)
            whole = self._S
            yield rows, self._energy.features(self.points[rows]) if whole is None else whole[rows]

    def gibbs(self, dual: np.ndarray, temperature: float) -> tuple[np.ndarray, float]:
        """Masses (n,) of ρ ∝ exp(−(S·dual + r)/T), one in all, and log Z."""
        exponent = -self._r / temperature
        for rows, S in self.blocks():
            exponent[rows] -= S @ dual / temperature
        top = self.comm.allreduce(float(exponent.max(initial=-np.inf)), MPI.MAX)
        if not np.isfinite(top):
            raise SolverError("F'/T is not finite on the mesh", "shrink the mesh, or raise T")
        masses = self.weights * np.exp(exponent - top)
        total = self.comm.allreduce(float(masses.sum()))
        return masses / total, top + float(np.log(total))

    def means(self, masses: np.ndarray) -> np.ndarray:
        """∫ S dρ (M,)."""
        parts = (S.T @ masses[rows] for rows, S in self.blocks())
        return sum_over_ranks(self.comm, sum(parts, np.zeros(self.size)))

    def covariance(self, masses: np.ndarray, means: np.ndarray) -> np.ndarray:
        """Cov_ρ(S) (M, M)."""
        total = np.zeros((self.size, self.size))
        for rows, S in self.blocks():
            # only what carries mass: at low temperatures that is a small part of the mesh
            held = masses[rows] > 0
            centred = (S[held] - means) * np.sqrt(masses[rows][held])[:, None]
            total += centred.T @ centred
        return sum_over_ranks(self.comm, total)


class GibbsFamily:
    """The laws ρ_f of a problem on a mesh; shared by all temperatures of one energy."""

    def __init__(self, problem: Problem, mesh: dmesh.Mesh, degree: int) -> None:
        if problem.internal is not None or problem.noise is not None:
            raise ProblemError(
                "with an internal energy, or noise of covariance Σ, a state at rest is no Gibbs "
                "law exp(−F'/T)",
                "solve to a late time with ddpde.solve",
            )
        if not problem.normalised:
            raise ProblemError(
                "stationary states are found among probabilities",
                "solve to a late time with ddpde.solve",
            )
        check_mesh(problem, mesh)
        self.comm = mesh.comm
        self.birth_death = problem.birth_death
        self.periods = problem.periods
        self.space = Space(mesh, degree)
        self.energy = Energy(problem, bounding_box(mesh), reduce=partial(sum_over_ranks, self.comm))
        self.rule_degree = 2 * degree + RULE_DEGREE
        self.cloud = Cloud(self.energy, self.space.quadrature(self.rule_degree), self.comm)

    @cached_property
    def coarse(self) -> Cloud:
        """Fewer points in each cell: what the quadrature's error is estimated with."""
        return Cloud(self.energy, self.space.quadrature(self.rule_degree - 6), self.comm)

    def at(self, f: np.ndarray, temperature: float) -> Point:
        """ρ_f at a temperature."""
        return Point(self, f, temperature)


class Point:
    """ρ_f, with the residual of its fixed-point equation; f (M,)."""

    def __init__(self, family: GibbsFamily, f: np.ndarray, temperature: float) -> None:
        self.family = family
        self.f = f
        self.temperature = temperature
        self.dual = family.energy.dual(f)
        self.masses, self.log_z = family.cloud.gibbs(self.dual, temperature)
        self.means = family.cloud.means(self.masses)
        self.residual = f - self.means

    @cached_property
    def curvature(self) -> np.ndarray:
        """∂²G/∂f² (M,)."""
        return self.family.energy.curvature(self.f)

    @cached_property
    def covariance(self) -> np.ndarray:
        """Cov_ρ(S) (M, M)."""
        return self.family.cloud.covariance(self.masses, self.means)

    @cached_property
    def jacobian(self) -> np.ndarray:
        """∂R/∂f = I + Cov_ρ(S) diag(∂²G)/T (M, M)."""
        return np.eye(len(self.f)) + self.covariance * self.curvature / self.temperature

    @cached_property
    def spectrum(self) -> tuple[np.ndarray, np.ndarray]:
        """The Jacobian's eigenvalues (M,), ascending, and its eigenvectors (M, M) in columns.

        C diag(g) has the non-zero spectrum of the symmetric C^½ diag(g) C^½: real, whatever the
        signs of g.
        """
        variances, axes = np.linalg.eigh(self.covariance)
        root = axes * np.sqrt(np.maximum(variances, 0.0))
        symmetric = root.T @ (self.curvature[:, None] * root) / self.temperature
        values, vectors = np.linalg.eigh(symmetric)
        return 1.0 + values, root @ vectors

    @property
    def size(self) -> float:
        """Largest residual."""
        return float(np.abs(self.residual).max(initial=0.0))

    @cached_property
    def scale(self) -> float:
        """Size of the features under the law: the largest root mean square."""
        squares = np.abs(np.diag(self.covariance)) + self.means**2
        return float(np.sqrt(squares.max(initial=0.0)))

    def tolerance(self, rtol: float) -> float:
        """What a residual can be at best: rtol of the features' size, and rounding in F'/T."""
        rounding = 16 * np.finfo(float).eps * abs(self.log_z)
        return max(rtol, rounding) * self.scale


@dataclass(frozen=True, eq=False)
class StationaryState:
    """A fixed point ρ ∝ exp(−F'[ρ]/T) on a mesh.

    law: its L² projection on the density space (rank 0 only; time = ∞). f (M,): means of the
    features; log_z: log ∫ exp(−F'/T); free_energy = F + T ∫ ρ log ρ; mean (k,) of the mesh
    coordinates. eigenvalues (M,) of the fixed point's Jacobian, ascending: all positive for a
    strict local minimum of the free energy. quadrature_error: how log Z and the means move with
    fewer points per cell. status: how the iteration ended.
    """

    law: Law | None
    temperature: float
    f: np.ndarray
    log_z: float
    free_energy: float
    risk: float
    mean: np.ndarray
    eigenvalues: np.ndarray
    residual: float
    quadrature_error: float
    iterations: int
    status: str
    point: Point

    @property
    def unstable(self) -> int:
        """Number of unstable directions."""
        return int((self.eigenvalues < -NEUTRAL).sum())

    def density(self, points: np.ndarray) -> np.ndarray:
        """ρ (n,) at mesh coordinates (n, k), exact but for f."""
        energy = self.point.family.energy
        potential = energy.features(points) @ self.point.dual + energy.local(points)
        return np.exp(-potential / self.temperature - self.log_z)

    def expectation(self, observable: Callable[[np.ndarray], np.ndarray]) -> float:
        """∫ observable dρ for a callable (n, k) -> (n,); to be called on all ranks."""
        cloud = self.point.family.cloud
        return cloud.comm.allreduce(float(self.point.masses @ observable(cloud.points)))


def stationary(
    problem: Problem,
    mesh: dmesh.Mesh,
    *,
    degree: int = 4,
    start: StationaryState | Law | np.ndarray | None = None,
    rtol: float = 1e-12,
) -> StationaryState:
    """The stationary state of `problem` near `start`, by Newton on the means of its features.

    Parameters: `degree` of the law handed back; `start`: another state or means (M,), for the
    state next to it, stable or not; or a law (default: the initial law), for the stable state in
    whose valley it lies. `rtol`: residual relative to the features' size.

    Raises ProblemError where temperature = 0 or there are too many features, SolverError where
    the iteration stalls.
    """
    if not problem.temperature > 0:
        raise ProblemError(
            "temperature = 0: stationary states have no density and are found by no fixed point",
            "solve() for long times, then ask ddpde.optimality(problem, law) how good the end is",
        )
    family = GibbsFamily(problem, mesh, degree)
    point, iterations = newton(
        family.at(first_means(problem, family, start), problem.temperature),
        rtol,
        relax=not isinstance(start, StationaryState | np.ndarray),
    )
    state = make_state(point, iterations, rtol)
    if state.quadrature_error > 1e-6:
        log.warning(
            "stationary state: quadrature error %.1e; the law is narrow for this mesh, refine it",
            state.quadrature_error,
        )
    return state


def newton(point: Point, rtol: float, *, relax: bool = False, limit: int = 80) -> tuple[Point, int]:
    """Damped Newton on R(f) = 0 from a point: the solution and the number of iterations.

    `relax`: where the Jacobian is indefinite Newton would head for a saddle; follow −R instead.
    """
    for iteration in range(limit):
        tolerance = point.tolerance(rtol)
        if point.size <= tolerance:
            return point, iteration
        if relax and iteration < _RELAXATIONS and point.curvature.min() < 0:
            eigenvalues = point.spectrum[0]
            if eigenvalues[0] < -NEUTRAL:
                point = _moved(point, -point.residual / max(eigenvalues[-1], 1.0))
                continue
        trial = _line_search(point, _cut_step(point)) or _line_search(point, _full_step(point))
        if trial is None:
            if point.size <= 100 * tolerance:  # rounding, near a bifurcation
                return point, iteration
            break
        point = trial
    raise SolverError(
        f"no stationary state found at temperature {point.temperature:g}: residual "
        f"{point.size:.1e} after {iteration + 1} iterations",
        "start nearer: from a law that solve() reached, or ddpde.continuation from a higher "
        "temperature; refine the mesh where the law is narrow",
    )


def _moved(point: Point, step: np.ndarray) -> Point:
    return point.family.at(point.f + step, point.temperature)


def _full_step(point: Point) -> np.ndarray:
    """The Newton step; zero where the Jacobian is singular to working precision."""
    try:
        return -np.linalg.solve(point.jacobian, point.residual)
    except np.linalg.LinAlgError:
        return np.zeros_like(point.residual)


def _cut_step(point: Point) -> np.ndarray:
    """The Newton step without its part along null vectors, where rounding would be amplified.

    Such v come with bifurcations nearby and with continuous symmetries; their spectral projector
    is Σ v wᵀ/(wᵀv), w = diag(∂²G) v the left null vectors. A convex G has none.
    """
    if point.curvature.min(initial=0.0) >= 0:
        return _full_step(point)
    values, vectors = point.spectrum
    v = vectors[:, np.abs(values) < _NULL]
    w = point.curvature[:, None] * v
    w = w / (w * v).sum(axis=0)
    regular = point.residual - v @ (w.T @ point.residual)
    step = -np.linalg.lstsq(point.jacobian, regular)[0]
    return step - v @ (w.T @ step)


def _line_search(point: Point, step: np.ndarray) -> Point | None:
    """The longest of the steps 1, ½, ¼ … that lowers |R|: the Newton step is downhill for it."""
    before = np.linalg.norm(point.residual)
    length = 1.0
    while length > 1e-8:
        trial = _moved(point, length * step)
        if np.linalg.norm(trial.residual) <= (1 - 1e-4 * length) * before:
            return trial
        length *= 0.5
    return None


def make_state(point: Point, iterations: int, rtol: float) -> StationaryState:
    """Everything there is to say about a converged point."""
    family, T = point.family, point.temperature
    energy, cloud = family.energy, family.cloud
    coarse_masses, coarse_log_z = family.coarse.gibbs(point.dual, T)
    moved = np.abs(family.coarse.means(coarse_masses) - point.means).max(initial=0.0)
    return StationaryState(
        law=_law(point),
        temperature=T,
        f=point.f,
        log_z=point.log_z,
        # T log ρ = −(S·a + r) − T log Z, so F + T ∫ρ log ρ = G(f) − a·f − T log Z
        free_energy=energy.nonlocal_energy(point.f) - point.dual @ point.f - T * point.log_z,
        risk=energy.risk(point.f),
        mean=sum_over_ranks(family.comm, cloud.points.T @ point.masses),
        eigenvalues=point.spectrum[0],
        residual=point.size,
        quadrature_error=max(float(moved) / (point.scale or 1.0), abs(coarse_log_z - point.log_z)),
        iterations=iterations,
        status="converged" if point.size <= point.tolerance(rtol) else "limited by rounding",
        point=point,
    )


def _law(point: Point) -> Law | None:
    space, rule = point.family.space, point.family.cloud.rule
    moments = point.masses.reshape(rule.weights.shape) @ rule.basis(space.degree)
    values = space.divide_by_mass(moments)
    owned = space.geometry[: space.n_cells]
    own = Law(np.inf, space.cell, space.degree, space.geometry_degree, owned, values)
    return gathered(space.comm, space.original_cells, own)


def first_means(
    problem: Problem, family: GibbsFamily, start: StationaryState | Law | np.ndarray | None
) -> np.ndarray:
    """Means (M,) to start from; laws live on rank 0 alone."""
    cloud = family.cloud
    if isinstance(start, StationaryState):
        start = start.f
    if isinstance(start, np.ndarray):
        if start.shape != (cloud.size,):
            raise ProblemError(
                f"start has shape {start.shape}: the problem has {cloud.size} features",
                "give the means of its features, a law, or a state on a mesh of the same extent",
            )
        return start.astype(float)
    if family.comm.bcast(start is not None, root=0):
        f = None
        if start is not None:
            points, masses = start.points()
            f = family.energy.features(points).T @ masses / masses.sum()
        return family.comm.bcast(f, root=0)
    masses = cloud.weights * initial_density(problem, cloud.comm)(cloud.points)
    total = family.comm.allreduce(float(masses.sum()))
    # an initial law that misses the mesh: any start is as good
    return cloud.means((masses if total > 0 else cloud.weights) / (total or cloud.weights.sum()))
