"""Where a law without entropy goes in a step: a first guess beyond its front.

Mobilities vanish where there is no mass, and Newton's method takes it one vertex farther an
iteration: the finer the mesh, the more of them. But a front moves with the velocity −∇φ behind it
(Vázquez, The Porous Medium Equation, 2007), where the pressure p is smooth and ends with a slope.
So p and φ are continued linearly, ring by ring, from where they are smooth, and

    p + τ ∇p·∇φ,  where it is > 0,

is the pressure after the step; Newton's method begins with the greater density of that and of what
the last step tells.
"""

from __future__ import annotations

import numpy as np
from mpi4py import MPI

from ddpde.flow.vertices import VertexFlow
from ddpde.problem.internal import largest_density
from ddpde.step.lagged_linear import ringed
from ddpde.step.monotone import Graph

_WITHIN = 0.5  # of the mean pressure around a vertex: with less it is ahead of the front
_MOST_RINGS = 64
_SMALL = 1e-9  # of p/ρ


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
    return (pressure > 0) & (more >= 0)


def beyond(
    flow: VertexFlow,
    u: np.ndarray,
    phi: np.ndarray,
    smooth: np.ndarray | None,
    start: tuple[np.ndarray, np.ndarray],
    tau: float,
) -> tuple[np.ndarray, np.ndarray]:
    """The start (density, potential) of a step of τ from densities u (n,), with what comes beyond
    the front of u, or of the law before, which was behind its own at the vertices `smooth` (n,).

    phi (n,): the potential of the last step. Nothing is added where the front went no farther than
    a vertex in that: Newton's method takes it there in any case.
    """
    known = within(flow, u)
    ready = known if smooth is None else known & smooth
    if smooth is not None and not _any(flow, known & ~ringed(flow, ready)):
        return start
    ready = ready & ~ringed(flow, ~ready)
    graph = Graph(0.0, flow.problem.internal, _SMALL)
    values = np.stack([graph.pressure(u), phi], axis=1)
    slopes = _slopes(flow, values, known, ready)
    density, potential = (np.array(part) for part in start)
    for _ in range(_MOST_RINGS):
        ring, mean = _continued(flow, ready, np.concatenate([values, slopes], axis=1))
        values[ring] = np.where(known[ring, None], values[ring], mean[:, :2])
        slopes[ring] = mean[:, 2:]
        rise = tau * np.einsum("va,va->v", *np.hsplit(slopes[ring], 2))
        pressure = np.maximum(values[ring, 0] + rise, 0.0)
        moved = graph.point(pressure)[0]
        more = moved > density[ring]
        density[ring] = np.where(more, moved, density[ring])
        potential[ring] = np.where(more, values[ring, 1] + rise, potential[ring])
        ready |= ring
        if not _any(flow, pressure > 0):
            break
    return density, potential


def goes_far(flow: VertexFlow, u: np.ndarray, density: np.ndarray) -> bool:
    """Whether the front of densities (n,) is farther than two vertices beyond that of u (n,)."""
    if not ends(flow):
        return False
    near = ringed(flow, ringed(flow, within(flow, u)))
    return _any(flow, within(flow, density) & ~near)


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
    there[:, :2] += np.einsum("eka,ea->ek", there[:, 2:].reshape(len(pairs), 2, -1), across)
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
