"""The adjoint of the linearised flow: what a change of the law does to an observable later.

While a law u(s) is on its way, a small change ω of it follows

    ∂_s ω = ∇·(ω ∇F'[u]) + ∇·(u ∇∫ K ω) + T Δω ,    K = Σ_m S_m ⊗ ∂²G_m S_m

(Rotskoff & Vanden-Eijnden 2018, section 3), and ∫ g dω stays what it is where g obeys, backwards,

    −∂_s g = −∇F'·∇g − Σ_m S_m ∂²G_m ∫ ∇g·∇S_m du + T Δg .

Birth and death at the rate α add −α (V − V̄ + T)(g − ḡ) − α Σ_m S_m ∂²G_m ∫ (g − ḡ) S_m du
to the right, V = F'[u] + T log u and bars for means over u. Here g lives in the density's space and
everything is the exact transpose of the discrete flow, its upwind directions held; diffusion is its
own transpose.
"""

from __future__ import annotations

import numpy as np

from ddpde.comm import sum_over_ranks
from ddpde.flow.eulerian import EulerianFlow
from ddpde.space.quadrature import tabulate


class Adjoint:
    """The adjoint equation around one state of `flow` at a time, which `at` sets.

    Functions g are coefficients (n_cells, nd) on the owned cells, K of them (K, n_cells, nd).
    """

    def __init__(self, flow: EulerianFlow) -> None:
        self._flow, space = flow, flow.space
        rule = space.quadrature(3 * space.degree)
        self._weights, self._basis = rule.weights, rule.basis(space.degree)
        self._metric = rule.metric() * rule.reference_weights[:, None, None]
        self._slopes = tabulate(rule.element(space.degree), rule.reference, derivatives=1)[1]

    def at(self, u: np.ndarray) -> None:
        """Linearise around the law with coefficients u (n_cells, nd)."""
        flow = self._flow
        self._u = flow.with_ghosts(u).copy()
        self._owned = self._u[: flow.space.n_cells]
        self._f = flow.predictions(u)
        self._potential = flow.steer(u)

    def transport(self, g: np.ndarray) -> np.ndarray:
        """−∂_s g without diffusion (K, n_cells, nd)."""
        return np.stack([self._one(function) for function in g])

    def _one(self, g: np.ndarray) -> np.ndarray:
        flow = self._flow
        v = flow.with_ghosts(g)
        moments = flow.upwind.transposed(v)
        if flow.birth_death is not None:
            moments += flow.birth_death.transposed(self._owned, self._potential, g)[0]
        if flow.energy.interacting:
            response = flow.energy.dual_change(self._f, self._slope(g))
            moments += flow.space.potential_moments(flow.features.field(response))
        return flow.space.divide_by_mass(moments)

    def _slope(self, g: np.ndarray) -> np.ndarray:
        """−∫ ∇g·∇S_m du − α ∫ (g − ḡ) S_m du (M,): how ∫ g du changes with the potential."""
        flow = self._flow
        load = flow.upwind.by_potential(self._u, flow.with_ghosts(g))
        if flow.birth_death is not None:
            load = load + flow.birth_death.transposed(self._owned, self._potential, g)[1]
        return flow.features.predictions(load)

    def mean(self, g: np.ndarray) -> np.ndarray:
        """∫ g du (K,)."""
        return sum_over_ranks(self._flow.comm, self._values(g) @ self._masses())

    def covariance(self, g: np.ndarray) -> np.ndarray:
        """Cov_u(g) (K, K): what one independent draw of the law contributes."""
        masses, values = self._masses(), self._values(g)
        n = len(g)
        sums = np.concatenate([values @ masses, ((values * masses) @ values.T).ravel()])
        sums = sum_over_ranks(self._flow.comm, sums)
        return sums[n:].reshape(n, n) - np.outer(sums[:n], sums[:n])

    def dirichlet(self, g: np.ndarray) -> np.ndarray:
        """∫ ∇g·∇g' du (K, K): the noise of diffusion, up to 2T."""
        density = self._u[: len(self._weights)] @ self._basis.T
        slopes = np.einsum("kci,aqi->kacq", g, self._slopes, optimize=True)
        n, tdim = slopes.shape[:2]
        total = np.zeros((n, n))
        for a in range(tdim):
            for b in range(tdim):
                weighted = slopes[:, a] * (self._metric[..., a, b] * density)
                total += weighted.reshape(n, -1) @ slopes[:, b].reshape(n, -1).T
        return sum_over_ranks(self._flow.comm, total)

    def sampling(self, g: np.ndarray) -> np.ndarray:
        """Covariance (K, K) over one sample (x, y) of ∫ ∇g·∇_θ(∂ℓ σ(x; θ)) du: the noise of SGD,
        the same for all neurons, in their births and deaths too."""
        slopes = np.stack([self._slope(function) for function in g])
        return self._flow.energy.sampling_covariance(self._f, slopes)

    def births(self, g: np.ndarray) -> np.ndarray:
        """What births and deaths add, N particles' covariance times N (K, K)."""
        assert self._flow.birth_death is not None
        return self._flow.birth_death.noise(self._owned, self._potential, g)

    def risk_variation(self) -> np.ndarray:
        """∂ℓ(f, y)·σ integrated over the data (n_cells, nd): what first changes the risk."""
        flow = self._flow
        nodal = flow.features.field(flow.energy.dual(self._f))
        return flow.space.divide_by_mass(flow.space.potential_moments(nodal))

    def _values(self, g: np.ndarray) -> np.ndarray:
        return (g @ self._basis.T).reshape(len(g), -1)

    def _masses(self) -> np.ndarray:
        return (self._weights * (self._u[: len(self._weights)] @ self._basis.T)).ravel()
