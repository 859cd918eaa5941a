"""Where a law without entropy goes in a step: tails beyond its old front, drawn to their ends.

Mobilities vanish where there is no mass, and Newton's method takes it one vertex farther an
iteration: the finer the mesh, the more of them. But beyond the old front a step with the norm not
varied is ρ = τ div(ρ ∇p) alone, with p ~ ρ^k there, and of that the solution is known: a front at
the distance y has

    p = k y²/(2 (k + 2) τ).

So what Newton's method finds a little behind the old front, by its pressure and by its slope,
tells how far the new one is, and the tail is drawn as far, ring by ring of vertices. Forces that
hold a front in its place leave ∇φ = 0 there, and nothing is drawn.
"""

from __future__ import annotations

import numpy as np
from mpi4py import MPI

from ddpde.flow.vertices import VertexFlow
from ddpde.problem.internal import largest_density
from ddpde.step.lagged_linear import ringed
from ddpde.step.monotone import Graph

_WITHIN = 0.5  # of the mean pressure around a vertex: with less it is ahead of the front
_DUST = 1e-20  # of the largest pressure
_MOST_RINGS = 256
_SMALL = 1e-9  # of p/ρ
_NO_SLOPE = 1e-300
_AT_FIRST = 0.8  # of the distance that the slope of φ before the step tells


def ends(flow: VertexFlow) -> bool:
    """Whether laws end at fronts that their pressure moves."""
    internal = flow.problem.internal
    return flow.temperature == 0 and internal is not None and largest_density(internal) == np.inf


def within(flow: VertexFlow, density: np.ndarray) -> np.ndarray:
    """The vertices (n,) behind the front of densities (n,)."""
    pressure = Graph(0.0, flow.problem.internal, 1.0).pressure(density)
    a, near = flow.transmissibility, flow.shared(pressure)
    here, there = (near[end] for end in flow.local_pairs.T)
    more = flow.scattered(a * (here - _WITHIN * there), a * (there - _WITHIN * here))
    peak = flow.comm.allreduce(float(pressure.max(initial=0.0)), MPI.MAX)
    return (pressure > _DUST * peak) & (more >= 0)


def drawn(
    flow: VertexFlow,
    mu: np.ndarray,
    density: np.ndarray,
    phi: np.ndarray,
    tau: float,
    *,
    at_first: bool = False,
) -> np.ndarray:
    """Densities (n,), found with φ (n,) in a step of τ from those of μ (n,), with their tail drawn.

    `at_first`: where nothing is found yet, and the slope of φ alone tells how far it goes.
    """
    internal, d = flow.problem.internal, flow.across.shape[1]
    assert internal is not None
    graph = Graph(0.0, internal, _SMALL)
    pressure = graph.pressure(density)
    before = np.sqrt(np.maximum(graph.pressure(mu), 0.0))
    old = within(flow, mu)
    ready = old if at_first else old & ~ringed(flow, ringed(flow, ~within(flow, density)))
    rim = ready & ringed(flow, ~ready)
    slopes = _slopes(flow, np.stack([before, phi], axis=1), old, ready)[rim]
    inwards, rises = slopes[:, :d], slopes[:, d:]
    inwards = inwards / np.maximum(np.linalg.norm(inwards, axis=1, keepdims=True), _NO_SLOPE)
    power = density[rim] * internal.second_derivative(density[rim]) / pressure[rim]
    bend = power / (2.0 * (power + 2.0) * tau)
    far = np.maximum(np.einsum("va,va->v", inwards, rises), 0.0) / (2.0 * bend)
    # a tail that is too short has too much pressure and too little slope
    far = _AT_FIRST * far if at_first else np.sqrt(far * np.sqrt(pressure[rim] / bend))
    values = np.zeros((len(mu), 2 + 2 * d))
    values[rim, 0], values[rim, 1], values[rim, 2 : 2 + d] = far, bend, inwards
    density = density.copy()
    for _ in range(_MOST_RINGS):
        ring, mean = _continued(flow, ready, values)
        values[ring] = mean
        there = mean[:, 0] > 0
        tail = graph.point(mean[:, 1] * np.maximum(mean[:, 0], 0.0) ** 2)[0]
        density[ring] = np.where(there & ~old[ring], tail, density[ring])
        ready |= ring
        if not _any(flow, there):
            break
    return density


def goes_far(flow: VertexFlow, before: np.ndarray, after: np.ndarray) -> bool:
    """Whether the front went farther than two vertices between densities (n,)."""
    near = ringed(flow, ringed(flow, within(flow, before)))
    return _any(flow, within(flow, after) & ~near)


def _any(flow: VertexFlow, chosen: np.ndarray) -> bool:
    """Whether any are, on any rank."""
    return bool(flow.comm.allreduce(bool(chosen.any()), MPI.LOR))


def _continued(
    flow: VertexFlow, ready: np.ndarray, known: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The ring (n,) of vertices around those that are ready (n,), and two values and their slopes
    there (of the ring, 2 + 2 d), continued linearly: known (n, 2 + 2 d) where it is ready."""
    i, j = flow.local_pairs.T
    inside = flow.shared(ready.astype(float)) > 0
    pairs = np.flatnonzero(inside[i] != inside[j])
    outwards = inside[i[pairs]]
    first, last = (np.where(outwards, one[pairs], other[pairs]) for one, other in ((i, j), (j, i)))
    across = np.where(outwards[:, None], 1.0, -1.0) * flow.across[pairs]
    there = flow.shared(known)[first]
    there[:, :2] += np.einsum(
        "eka,ea->ek", there[:, 2:].reshape(len(pairs), 2, across.shape[1]), across
    )
    sums = _summed(flow, last, flow.transmissibility[pairs], there)
    ring = ~ready & (sums[:, 0] > 0)
    return ring, sums[ring, 1:] / sums[ring, :1]


def _slopes(
    flow: VertexFlow, values: np.ndarray, known: np.ndarray, ready: np.ndarray
) -> np.ndarray:
    """Gradients (n, 2 d) of two values (n, 2), by least squares between vertices known (n,), at the
    rim of those that are ready (n,)."""
    i, j = flow.local_pairs.T
    d, rim = flow.across.shape[1], ready & ringed(flow, ~ready)
    here = flow.shared(np.concatenate([values, np.stack([known, rim], axis=1)], axis=1))
    all_known, near = (here[i, 2] * here[j, 2] > 0), (here[i, 3] + here[j, 3] > 0)
    pairs = np.flatnonzero(all_known & near)
    i, j, across = i[pairs], j[pairs], flow.across[pairs]
    jump = here[j, :2] - here[i, :2]
    products = np.einsum("eb,ea->eba", np.concatenate([across, jump], axis=1), across)
    weight, products = flow.transmissibility[pairs], products.reshape(len(pairs), (d + 2) * d)
    sums = _summed(flow, i, weight, products) + _summed(flow, j, weight, products)
    sums = sums[rim, 1:].reshape(-1, d + 2, d)
    slopes = np.zeros((len(values), 2 * d))
    inverse = np.linalg.pinv(sums[:, :d], hermitian=True)
    slopes[rim] = (sums[:, d:] @ inverse).reshape(-1, 2 * d)
    return slopes


def _summed(
    flow: VertexFlow, ends: np.ndarray, weight: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """Sums (n, 1 + k) at the ends (e,) of pairs, of their weights (e,) and of these with values
    (e, k)."""
    parts = np.empty((len(flow.reached), 1 + values.shape[1]))
    for k, part in enumerate([weight, *(weight * column for column in values.T)]):
        parts[:, k] = np.bincount(ends, weights=part, minlength=len(parts))
    return flow.gathered(parts)
