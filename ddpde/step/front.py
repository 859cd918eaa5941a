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
    a, (i, j) = flow.transmissibility, flow.local_pairs.T
    near = flow.shared(pressure)
    around, weight = flow.scattered(
        a[:, None] * np.stack([near[j], np.ones(len(j))], axis=1),
        a[:, None] * np.stack([near[i], np.ones(len(i))], axis=1),
    ).T
    return (pressure > 0) & (pressure * weight >= _WITHIN * around)


def inner(flow: VertexFlow, chosen: np.ndarray) -> np.ndarray:
    """Those of the vertices chosen (n,) whose neighbours are, too."""
    i, j = flow.local_pairs.T
    out = flow.shared((~chosen).astype(float))
    return chosen & (flow.scattered(out[j], out[i]) == 0)


def beyond(
    flow: VertexFlow,
    u: np.ndarray,
    phi: np.ndarray,
    smooth: np.ndarray,
    start: tuple[np.ndarray, np.ndarray],
    tau: float,
) -> tuple[np.ndarray, np.ndarray]:
    """The start (density, potential) of a step of τ from densities u (n,), with what comes beyond
    the front of u, or of the law before, which was behind its own at the vertices `smooth` (n,).

    phi (n,): the potential of the last step.
    """
    graph = Graph(0.0, flow.problem.internal, _SMALL)
    known = within(flow, u)
    ready = inner(flow, known & smooth)
    values = np.stack([graph.pressure(u), phi], axis=1)
    slopes = _slopes(flow, values, known, ready)
    density, potential = (np.array(part) for part in start)
    a, (i, j), across = flow.transmissibility[:, None], flow.local_pairs.T, flow.across
    for _ in range(_MOST_RINGS):
        flat = slopes.reshape(len(slopes), -1)
        here = ready[:, None] * np.concatenate([np.ones((len(u), 1)), values, flat], axis=1)
        here = flow.shared(here)
        along = here[:, 3:].reshape(len(here), 2, -1)
        to_j, to_i = a * here[i], a * here[j]
        to_j[:, 1:3] += a * np.einsum("ekd,ed->ek", along[i], across)
        to_i[:, 1:3] -= a * np.einsum("ekd,ed->ek", along[j], across)
        sums = flow.scattered(to_i, to_j)
        ring = ~ready & (sums[:, 0] > 0)
        mean = sums[ring, 1:] / sums[ring, :1]
        slopes[ring] = mean[:, 2:].reshape(-1, *slopes.shape[1:])
        values[ring] = np.where(known[ring, None], values[ring], mean[:, :2])
        rise = tau * np.einsum("vd,vd->v", slopes[ring, 0], slopes[ring, 1])
        pressure = np.maximum(values[ring, 0] + rise, 0.0)
        moved = graph.point(pressure)[0]
        more = moved > density[ring]
        density[ring] = np.where(more, moved, density[ring])
        potential[ring] = np.where(more, values[ring, 1] + rise, potential[ring])
        ready |= ring
        if not flow.comm.allreduce(bool((pressure > 0).any()), MPI.LOR):
            break
    return density, potential


def _slopes(
    flow: VertexFlow, values: np.ndarray, known: np.ndarray, wanted: np.ndarray
) -> np.ndarray:
    """Gradients (n, k, d) of values (n, k), by least squares between vertices known (n,), at those
    wanted (n,) next to others."""
    i, j = flow.local_pairs.T
    d, k = flow.across.shape[1], values.shape[1]
    here = flow.shared(np.concatenate([values, known[:, None]], axis=1))
    weight = (flow.transmissibility * here[i, -1] * here[j, -1])[:, None]
    across, jump = flow.across, (here[j] - here[i])[:, :-1]
    squares = np.einsum("ea,eb->eab", across, across).reshape(-1, d * d)
    products = np.einsum("ek,ea->eka", jump, across).reshape(-1, k * d)
    parts = weight * np.concatenate([squares, products], axis=1)
    sums = flow.scattered(parts, parts)
    slopes = np.zeros((len(values), k, d))
    border = wanted & ~inner(flow, wanted)
    inverse = np.linalg.pinv(sums[border, : d * d].reshape(-1, d, d), hermitian=True)
    slopes[border] = np.einsum("vab,vkb->vka", inverse, sums[border, d * d :].reshape(-1, k, d))
    return slopes
