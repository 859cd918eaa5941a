"""Entropic JKO steps: Sinkhorn's iteration with the heat semigroup as kernel, debiased.

ρ' = argmin S_ε(ρ, ·)/τ + F_T with the Sinkhorn divergence (Feydy et al. 2019)
S_ε(μ, ν) = C(μ, ν) − ½C(μ, μ) − ½C(ν, ν), C(μ, ν) = min over plans of ε KL(π | K), and the heat
kernel K = exp(ε/2 Δ) of variance ε. Plans are a(x) K(x, y) b(y); the condition of optimality is

    γ log b − γ log s + F_T'[ρ'] = 0,   a K b = ρ,   ρ' = b K a,   s K s = ρ',   γ = ε/τ.

Without the term in s each step adds the diffusion γ/2 (Peyré 2015); with log ρ' in its place, that
is with entropy relative to the marginals, it takes as much away. The divergence is zero at ν = μ
and positive elsewhere: the free energy falls at every step, and its minimiser stays where it is.

Where the temperature is below what a cell resolves laws end somewhere, and s is a deconvolution
that no iteration finds. There it is that of first order, s² = ρ' √ρ'/K√ρ', in closed form, and a
kernel too wide for it is refused: one for which ∫ √ρ |K√ρ − √ρ|, about ε/4 over the law's variance,
is large.
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
_MOST_ITERATIONS = {"divergence": 500}  # that of first order takes a few dozen
_FEW_ITERATIONS = 150
_WORSE = 10.0  # than the best residual: Anderson's memory is cleared
_MEMORY = 6  # of Anderson's acceleration
_ROUNDING = 1e-10  # by which the free energy may rise, or mass be off
_RIDGE = 1e-12  # of its least squares, relative
_LEAST = 1e-290
_COLD = 0.01  # of γ: at lower temperatures the deconvolution is that of first order
_WIDEST = 0.2, 0.4  # ∫ √ρ |K√ρ − √ρ| before and after such a step, at the most
_MOST_CORRECTION = 1.0  # of log s, where the law ends
# what stands for log s, and θ where that is θ log ρ' or near it: the part treated implicitly
DEBIASING = {"divergence": 0.5, "first order": 0.5, "none": 0.0, "marginals": 1.0}


class EntropicProximal:
    """The proximal step of an `EntropicFlow`. `iterations`, `residual`: of the latest step.

    debias: a key of DEBIASING. The default is "divergence", at low temperatures "first order";
    "none" and "marginals" are there to show the bias.
    """

    def __init__(self, flow: EntropicFlow, debias: str | None = None) -> None:
        self._flow = flow
        self._asked = debias
        self._debias = ""
        self._gamma = 0.0
        self._start: np.ndarray | None = None
        self.iterations, self.residual = 0, 0.0

    def close(self) -> None:
        """Free the kernel's factorisation."""
        self._flow.heat.close()

    def __call__(self, rho: np.ndarray, tau: float, gamma: float | None = None) -> np.ndarray:
        """The minimiser (n,) from densities rho; SolverError where the iteration fails."""
        flow = self._flow
        self.iterations = 0
        self._settle(rho, gamma)
        flow.heat.set_time(0.5 * self._gamma * tau)
        self._must_resolve(rho, tau, _WIDEST[0])
        implicit = (1.0 - self._theta) * self._gamma
        c = (implicit - flow.temperature) / (implicit + flow.temperature)
        self._mixing = np.array([[2.0 / (2.0 + c)], [1.0]])  # contracts modes whole and none
        if self._start is None:
            half = 0.5 * np.log(np.maximum(flow.heat(rho), _LEAST))
            self._start = np.stack([half, half])
        z, best = self._start, np.inf
        history: deque = deque(maxlen=_MEMORY + 1)
        self._start = None
        most = _MOST_ITERATIONS.get(self._debias, _FEW_ITERATIONS)
        for self.iterations in range(1, most + 1):
            mapped, density, wanted = self._map(z, rho)
            # as much as there is, or as the next round wants there to be
            carried = flow.masses * np.maximum(density, wanted)
            self.residual = flow.comm.allreduce(float(np.abs(mapped - z).sum(axis=0) @ carried))
            if self.residual < _TOLERANCE:
                self._must_keep(rho, density, tau)
                self._must_fall(rho, density, tau)
                self._must_resolve(density, tau, _WIDEST[1])
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

    def _settle(self, rho: np.ndarray, gamma: float | None) -> None:
        """γ and the debiasing for a step from rho: those of the last one where they will do.

        Where it is cold γ is a power of two, so that most steps have the kernel of the one before.
        """
        T = self._flow.temperature
        needed = gamma or max(2.0 * T, self._resolved(rho))
        if gamma or needed == 2.0 * T:
            self._gamma = needed
        elif not 0.5 * self._gamma < needed <= self._gamma:
            cold = T <= _COLD * needed
            self._gamma = float(2.0 ** np.ceil(np.log2(needed))) if cold else needed
        cold = T <= _COLD * self._gamma
        debias = self._asked or ("first order" if cold else "divergence")
        if debias != self._debias:
            self._debias, self._start = debias, None
            self._theta = DEBIASING[debias]

    def _must_resolve(self, density: np.ndarray, tau: float, most: float) -> None:
        """Deconvolution of first order is for kernels narrower than the law."""
        if self._asked is None and self._debias == "first order":
            root = np.sqrt(density)
            spread = root * np.abs(self._flow.heat(root) - root)
            if (wide := self._flow.sum(spread)) > most:
                raise self._failure(tau, f"its kernel is too wide for the law ({wide:.2g})")

    def _must_keep(self, before: np.ndarray, after: np.ndarray, tau: float) -> None:
        """Mass is lost where logarithms are cut off."""
        old, new = self._flow.sum(before), self._flow.sum(after)
        if not abs(new - old) <= _ROUNDING * old:
            raise self._failure(tau, f"of a mass of {old:.6g}, {new:.6g} would be left")

    def _must_fall(self, before: np.ndarray, after: np.ndarray, tau: float) -> None:
        """Where F is not convex the iteration may end in a critical point that is no minimum."""
        old, new = self._flow.free_energy(before), self._flow.free_energy(after)
        if self._asked is None and not new <= old + _ROUNDING * max(1.0, abs(old)):
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
        if flow.problem.internal is not None and flow.problem.internal.smooth:
            pushed = field + flow.problem.internal.derivative(rho)
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
        elif self._debias == "first order":
            half = 0.5 * log_density
            Ks, up = self._kernel(half)
            wider = np.log(np.maximum(Ks, _LEAST)) + up - half
            deviation = -0.5 * np.clip(wider, -_MOST_CORRECTION, _MOST_CORRECTION)
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
        internal = self._flow.problem.internal
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
