"""Two solvers of one dynamic JKO step: the package's interior point, and an augmented Lagrangian.

Both get the same discrete problem, Barenblatt's profile (m = 2) on a line and in the plane. ALG2 of
Benamou, Carlier & Laborde (ESAIM Proc. 54, 2016) splits action and ρ ≥ 0, pointwise, from
continuity and energy, which are linear and quadratic here: one sparse factorisation, one solve an
iteration (over-relaxed ADMM, the best of several penalties). The interior point is measured to its
duality gap with what the conditions of optimality miss; ALG2 to the difference of its objective
from the minimum with the L¹ distance of its two copies.

    python tests/benchmarks/bench_jko_dynamic_solvers.py
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

GAPS = (1e-6, 1e-10)
PENALTIES = (30.0, 100.0, 300.0, 1000.0)
RELAXATION = 1.8
MOST_ITERATIONS = 5_000


class Alg2:
    """ADMM for min over (ρ, w) of Σ_k δ_k Σ_e a w²/(2M) + ∫ρ_K², M the mean mobility, w M's flux.

    x = (ρ_1 … ρ_K, w_1 … w_K); its copy v = (M, w, ρ).
    """

    def __init__(self, flow, mu, tau, inner_steps, penalty):  # type: ignore[no-untyped-def]
        K, n, a, m = inner_steps, flow.size, flow.transmissibility, flow.masses
        i, j = flow.local_pairs.T
        e = len(a)
        delta = -tau * np.diff((1.0 - np.arange(K + 1) / K) ** 2)
        new = np.where(np.arange(K) < K - 1, 0.5, 1.0)
        eye = sparse.eye_array
        ends = sparse.csr_array((np.ones(e), (np.arange(e), i)), shape=(e, n))
        other = sparse.csr_array((np.ones(e), (np.arange(e), j)), shape=(e, n))
        in_time = sparse.diags_array([new, 1.0 - new[1:]], offsets=[0, -1])
        first = np.zeros(K)
        first[0] = 1.0
        mean = sparse.kron(in_time, 0.5 * (ends + other))
        change = sparse.diags_array([np.ones(K), -np.ones(K - 1)], offsets=[0, -1])
        self.A = sparse.block_array(
            [[mean, None], [None, eye(K * e)], [eye(K * n), None]], format="csc"
        )
        self.shift = np.concatenate(
            [np.kron((1.0 - new) * first, 0.5 * (mu[i] + mu[j])), np.zeros(K * (e + n))]
        )
        self.weights = np.concatenate([np.kron(delta, a), np.kron(delta, a), np.kron(delta, m)])
        leaving = sparse.kron(sparse.diags_array(delta), (ends - other).T @ sparse.diags_array(a))
        continuity = sparse.hstack([sparse.kron(change, sparse.diags_array(m)), leaving])
        self.right = np.kron(first, m * mu)
        last = np.concatenate([np.zeros((K - 1) * n), 2.0 * m, np.zeros(K * e)])
        self.r = penalty
        scaled = sparse.diags_array(self.weights)
        block = sparse.diags_array(last) + penalty * self.A.T @ scaled @ self.A
        self.solve = splu(
            sparse.block_array([[block, continuity.T], [continuity, None]], format="csc")
        ).solve
        self.pairs, self.last, self.x = K * e, slice((K - 1) * n, K * n), np.zeros(K * (n + e))
        self.m = m
        self.v = self.A @ np.concatenate([np.tile(mu, K), np.zeros(K * e)]) + self.shift
        self.y = np.zeros_like(self.v)

    def step(self) -> tuple[float, float]:
        """One iteration; the objective, and the L¹ distance of the copies."""
        wanted = self.r * (self.A.T @ (self.weights * (self.v - self.y - self.shift)))
        self.x = self.solve(np.concatenate([wanted, self.right]))[: len(self.x)]
        image = self.A @ self.x + self.shift
        relaxed = RELAXATION * image + (1.0 - RELAXATION) * self.v + self.y
        self.v = self.projected(relaxed)
        self.y = relaxed - self.v
        M, w = self.v[: self.pairs], self.v[self.pairs : 2 * self.pairs]
        moving = M > 0
        action = self.weights[: self.pairs][moving] @ (w[moving] ** 2 / M[moving]) / 2
        objective = action + self.m @ self.x[self.last] ** 2
        return float(objective), float(self.weights @ np.abs(image - self.v))

    def projected(self, z: np.ndarray) -> np.ndarray:
        """argmin w²/(2M) + r/2 |(M, w) − z|² pointwise, the root of a cubic; and ρ ≥ 0."""
        M0, w0, r = z[: self.pairs], z[self.pairs : 2 * self.pairs], self.r
        M = np.maximum(M0, 0.0) + np.cbrt(np.abs(w0) ** 2 / (2.0 * r)) + 1e-300
        for _ in range(60):
            by = 1.0 + r * M
            excess = (M - M0) * by**2 - 0.5 * r * w0**2
            step = excess / (by**2 + 2.0 * r * (M - M0) * by)
            M = M - step
            if not (np.abs(step) > 1e-15 * (1.0 + np.abs(M))).any():
                break
        M = np.maximum(M, 0.0)
        return np.concatenate([M, r * M * w0 / (1.0 + r * M), np.maximum(z[2 * self.pairs :], 0)])


def alg2(flow, mu, tau, K, least):  # type: ignore[no-untyped-def]
    """For each of GAPS: the fewest seconds of all penalties, and the iterations."""
    best: dict[float, tuple[float, int, float]] = {}
    for penalty in PENALTIES:
        started = time.perf_counter()
        solver, open_gaps = Alg2(flow, mu, tau, K, penalty), list(GAPS)
        for iteration in range(1, MOST_ITERATIONS + 1):
            objective, apart = solver.step()
            off = abs(objective - least) + apart
            while open_gaps and off <= open_gaps[0]:
                found = time.perf_counter() - started, iteration, penalty
                best[open_gaps[0]] = min(best.get(open_gaps[0], found), found)
                open_gaps.pop(0)
            if not open_gaps:
                break
        print(f"    ALG2, penalty {penalty:g}: {off:.1e} after {iteration} iterations")
    return best


def interior(flow, mu, tau, K):  # type: ignore[no-untyped-def]
    """For each of GAPS: seconds and iterations of `DynamicNewton`."""
    from ddpde.step import dynamic_newton

    found = {}
    kept = dynamic_newton._TOLERANCE, dynamic_newton._GAP
    for gap in GAPS:
        dynamic_newton._TOLERANCE, dynamic_newton._GAP = gap / 2, gap / 4
        started = time.perf_counter()
        newton = dynamic_newton.DynamicNewton(flow, K)
        found[gap] = newton.solve(mu, tau).iterations, time.perf_counter() - started
        newton.close()
    dynamic_newton._TOLERANCE, dynamic_newton._GAP = kept
    return found


def minimum(flow, mu, tau, K):  # type: ignore[no-untyped-def]
    """The dual's value where the interior point ends: of the Lagrangian, affine in μ and in each
    ρ_k of a path, complementarity leaves the terms with μ and those of ∫ρ_K²."""
    from ddpde.step.dynamic_newton import DynamicNewton

    newton = DynamicNewton(flow, K)
    end = newton.solve(mu, tau)
    newton.close()
    i, j = flow.local_pairs.T
    first, a = end.potential[:, 0], flow.transmissibility
    kinetic = 0.25 * tau * end.parts[0] * (a @ (0.5 * (mu[i] + mu[j]) * (first[i] - first[j]) ** 2))
    return flow.masses @ (mu * first) - kinetic - flow.masses @ end.density**2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tau", type=float, default=0.1)
    tau = parser.parse_args().tau

    import ddpde
    from ddpde.flow.vertices import VertexFlow
    from ddpde.problem import Problem
    from ddpde.problem.classics import Barenblatt
    from ddpde.problem.initial import DensityLaw
    from ddpde.problem.internal import PorousMedium

    line = ddpde.interval(-3, 3, cells=200), 4
    plane = ddpde.box((-2.4, -2.4), (2.4, 2.4), cells=(32, 32)), 2
    for words, (mesh, K) in {"line, 200 cells": line, "plane, 32² cells": plane}.items():
        dim = mesh.geometry.dim
        law = DensityLaw(dim, Barenblatt(dim, 2.0, 1.0))
        problem = Problem(name="barenblatt", initial=law, internal=PorousMedium(2))
        flow = VertexFlow(problem, mesh)
        mu = flow.state.getArray().copy()
        print(f"{words}, {K} inner steps, τ = {tau:g}")
        ours, least = interior(flow, mu, tau, K), minimum(flow, mu, tau, K)
        theirs = alg2(flow, mu, tau, K, least)
        for gap in GAPS:
            iterations, seconds = ours[gap]
            print(f"  {gap:.0e}: interior point {iterations} iterations, {seconds:.2f} s")
            if gap in theirs:
                slower, count, penalty = theirs[gap]
                print(
                    f"         ALG2 {count} iterations, {slower:.2f} s (penalty {penalty:g}), "
                    f"{slower / seconds:.1f} times as long"
                )
            else:
                print(f"         ALG2 not in {MOST_ITERATIONS} iterations")


if __name__ == "__main__":
    main()
