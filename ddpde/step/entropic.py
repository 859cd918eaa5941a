"""Entropic JKO steps: Sinkhorn's iteration with the heat semigroup as kernel, debiased.

ρ' = argmin S_ε(ρ, ·)/τ + F_T with the Sinkhorn divergence (Feydy et al. 2019)
S_ε(μ, ν) = C(μ, ν) − ½C(μ, μ) − ½C(ν, ν), C(μ, ν) = min over plans of ε KL(π | K), and the heat
kernel K = exp(ε/2 Δ) of variance ε. Plans are a(x) K(x, y) b(y); the condition of optimality is

    γ log b − γ log s + F_T'[ρ'] = 0,   a K b = ρ,   ρ' = b K a,   s K s = ρ',   γ = ε/τ.

Without the term in s each step adds the diffusion γ/2 (Peyré 2015); with log ρ' in its place, that
is with entropy relative to the marginals, it takes as much away. The divergence is zero at ν = μ
and positive elsewhere: the free energy falls at every step, and its minimiser stays where it is.

At temperature 0 laws end somewhere, and there s is a deconvolution that no iteration finds: the
term is ½ log ρ', its limit for small ε, and a step that would raise the free energy is refused.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from mpi4py import MPI

from ddpde.comm import sum_over_ranks
from ddpde.errors import SolverError
from ddpde.flow.entropic import EntropicFlow
from ddpde.problem.internal import largest_density

_TOLERANCE = 1e-9  # of log b in L¹(ρ): the relative error of the density
_MOST_ITERATIONS = 500
_WORSE = 10.0  # than the best residual: Anderson's memory is cleared
_MEMORY = 6  # of Anderson's acceleration
_ROUNDING = 1e-10  # by which the free energy may rise
_RIDGE = 1e-12  # of its least squares, relative
_LEAST = 1e-290
# what stands for log s, and θ where that is θ log ρ' or near it: the part treated implicitly
DEBIASING = {"divergence": 0.5, "half": 0.5, "none": 0.0, "marginals": 1.0}


class EntropicProximal:
    """The proximal step of an `EntropicFlow`. `iterations`, `residual`: of the latest step.

    debias: a key of DEBIASING. The default is "divergence", at temperature 0 "half"; "none" and
    "marginals" are there to show the bias.
    """

    def __init__(self, flow: EntropicFlow, debias: str | None = None) -> None:
        self._flow = flow
        self._guarded = debias is None
        self._debias = debias or ("divergence" if flow.temperature > 0 else "half")
        self._theta = DEBIASING[self._debias]
        self._gamma = 2.0 * flow.temperature
        self._start: np.ndarray | None = None
        self.iterations, self.residual = 0, 0.0

    def close(self) -> None:
        """Free the kernel's factorisation."""
        self._flow.heat.close()

    def __call__(self, rho: np.ndarray, tau: float, gamma: float | None = None) -> np.ndarray:
        """The minimiser (n,) from densities rho; SolverError where the iteration fails."""
        flow = self._flow
        self._gamma = gamma or max(self._gamma, self._resolved(rho))
        flow.heat.set_time(0.5 * self._gamma * tau)
        implicit = (1.0 - self._theta) * self._gamma
        c = (implicit - flow.temperature) / (implicit + flow.temperature)
        self._mixing = np.array([[2.0 / (2.0 + c)], [1.0]])  # contracts modes whole and none
        if self._start is None:
            half = 0.5 * np.log(np.maximum(flow.heat(rho), _LEAST))
            self._start = np.stack([half, half])
        z, best = self._start, np.inf
        history: deque = deque(maxlen=_MEMORY + 1)
        for self.iterations in range(1, _MOST_ITERATIONS + 1):
            mapped, density, wanted = self._map(z, rho)
            # as much as there is, or as the next round wants there to be
            carried = flow.masses * np.maximum(density, wanted)
            self.residual = flow.comm.allreduce(float(np.abs(mapped - z).sum(axis=0) @ carried))
            if self.residual < _TOLERANCE:
                self._must_fall(rho, density, tau)
                self._start = z
                return density
            if not self.residual < np.inf:
                break
            if self.residual > _WORSE * best:
                history.clear()  # acceleration led astray
            best = min(best, self.residual)
            history.append((z, mapped - z))
            z = self._accelerated(history, carried)
        raise self._failure(tau, f"residual {self.residual:.1e}")

    def _must_fall(self, before: np.ndarray, after: np.ndarray, tau: float) -> None:
        """Where F is not convex the iteration may end in a critical point that is no minimum."""
        old, new = self._flow.free_energy(before), self._flow.free_energy(after)
        if self._guarded and not new <= old + _ROUNDING * max(1.0, abs(old)):
            raise self._failure(tau, f"the free energy would rise from {old:.6g} to {new:.6g}")

    def _failure(self, tau: float, what: str) -> SolverError:
        return SolverError(
            f"the entropic JKO step of τ = {tau:.3g} did not converge: {what} after "
            f"{self.iterations} iterations",
            "take a smaller dt, or a finer mesh",
        )

    def _resolved(self, rho: np.ndarray) -> float:
        """The least γ for which b = exp(−F'/(γ/2 + T)) changes by less than e in a cell.

        Or by less than e² where T > 0, as it is then where there is little mass.
        """
        flow = self._flow
        field = flow.potential(rho)
        least = flow.steepness(field, rho) * (1.0 if flow.temperature > 0 else 2.0)
        if flow.internal is not None and flow.internal.smooth:
            pushed = field + flow.internal.derivative(rho)
            least = max(least, flow.steepness(pushed, rho))  # it evens itself out
        return least

    def _map(self, z: np.ndarray, rho: np.ndarray) -> tuple[np.ndarray, ...]:
        """One round: (log b, log s) (2, n) to the next; the density b K(ρ/K b) and that of the
        next b, cut off at the peak."""
        flow, gamma, theta = self._flow, self._gamma, self._theta
        log_b, log_s = z
        Kb, up = self._kernel(log_b)
        q = flow.heat(rho / np.maximum(Kb, _LEAST))
        log_q = np.log(np.maximum(q, _LEAST)) - up
        log_density = log_b + log_q
        density = np.exp(log_density)
        deviation = 0.0
        if self._debias == "divergence":
            Ks, up = self._kernel(log_s)
            log_s = 0.5 * (log_s + log_density - np.log(np.maximum(Ks, _LEAST)) - up)
            deviation = z[1] - theta * log_density
        force = gamma * (log_q + deviation) - flow.potential(density)
        new = self._balance(force, (1.0 - theta) * gamma + flow.temperature, log_density)
        top = density.max(initial=0.0)
        return np.stack([new - log_q, log_s]), density, np.exp(np.minimum(new, np.log(top)))

    def _kernel(self, log_v: np.ndarray) -> tuple[np.ndarray, float]:
        """K v/c and log c, c the largest v: nothing overflows."""
        top = self._flow.comm.allreduce(float(log_v.max(initial=-np.inf)), MPI.MAX)
        return self._flow.heat(np.exp(log_v - top)), top

    def _balance(self, force: np.ndarray, kappa: float, start: np.ndarray) -> np.ndarray:
        """log ρ (n,) with κ log ρ + h'(ρ) = force, h the internal energy."""
        internal = self._flow.internal
        if internal is None:
            return force / kappa
        if not internal.smooth:
            return np.minimum(force / kappa, np.log(largest_density(internal)))
        log_density = start
        for _ in range(100):
            density = np.exp(log_density)
            excess = kappa * log_density + internal.derivative(density) - force
            slope = kappa + density * internal.second_derivative(density)
            change = np.clip(-excess / slope, -5.0, 2.0)
            log_density = log_density + change
            if np.all(np.abs(change) <= 1e-13 * (1.0 + np.abs(log_density))):
                break
        return log_density

    def _accelerated(self, history: deque, weights: np.ndarray) -> np.ndarray:
        """Anderson's next iterate (Walker & Ni 2011), its least squares in L²(ρ)."""
        z, residual = history[-1]
        mixing = self._mixing
        ahead = z + mixing * residual
        if len(history) == 1:
            return ahead
        older = list(history)[:-1]
        dz = np.stack([z - old for old, _ in older])
        dr = np.stack([residual - old for _, old in older])
        both = np.concatenate([dr, residual[None]])
        gram = np.einsum("iad,jad,d->ij", both, dr, weights, optimize=True)
        gram = sum_over_ranks(self._flow.comm, np.ascontiguousarray(gram))
        scale = np.trace(gram[:-1])
        theta = np.linalg.solve(gram[:-1] + _RIDGE * scale * np.eye(len(dr)), gram[-1])
        return ahead - np.tensordot(theta, dz + mixing * dr, axes=1)
