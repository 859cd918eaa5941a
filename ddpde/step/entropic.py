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

With birth and death of rate α the plan's marginals are relaxed, at the price of λ KL(π₁|ρ) and
λ KL(π₂|ρ') with λ = 2/α (Chizat, Peyré, Schmitzer and Vialard 2018): the metric of Hellinger and
Kantorovich, to first order in τ. Plans are a r K r b with r² = Kρ, so that ε does not price mass by
how little of it there is; with δ = ε/λ the conditions are

    (γ/δ) (s^−δ − b^−δ) + F_T'[ρ'] = c,   a^(1+δ) r K(r b) = ρ,   ρ' = b^(1+δ) r K(r a),

s^(1+δ) r K(r s) = ρ', and c that for which the mass is kept. The divergence (Séjourné et al. 2019)
is as before zero at ρ' = ρ alone and positive elsewhere: F_T falls at every step. Below, log b and
log s are those of r b and r s; α = 0 is δ = 0.
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
_RELAXED = 10 * _TOLERANCE  # by which mass may be off with births, before it is scaled
_RIDGE = 1e-12  # of its least squares, relative
_LEAST = 1e-290
_COLD = 0.01  # of γ: at lower temperatures the deconvolution is that of first order
_WIDEST = 0.2, 0.4  # ∫ √ρ |K√ρ − √ρ| before and after such a step, at the most
_WIDER = 6.7  # γ for a crowd that is not found, once and twice: not to where it is cold
_MOST_AWAY = 50.0  # of δ (log b − log s), in what is expected of a step not yet found
_STEEPEST = 0.5
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
        self._gamma, self._widening = 0.0, 1.0
        self._delta, self._relaxed = 0.0, np.zeros(())  # δ and δ log r
        self._start: np.ndarray | None = None
        self.iterations, self.residual = 0, 0.0

    def close(self) -> None:
        """Free the kernel's factorisation."""
        self._flow.heat.close()

    def __call__(self, rho: np.ndarray, tau: float, gamma: float | None = None) -> np.ndarray:
        """The minimiser (n,) from densities rho; SolverError where the iteration fails.

        The pressure of a crowd goes through full cells by the width of the kernel in a round: where
        that takes too many, the kernel is widened.
        """
        internal, spent = self._flow.problem.internal, 0
        crowd = internal is not None and not internal.smooth
        while True:
            try:
                return self._minimiser(rho, tau, gamma)
            except SolverError:
                self._widening *= _WIDER
                if gamma or not crowd or self._widening > _WIDER**2:
                    self._widening = 1.0
                    raise
            finally:
                self.iterations = spent = spent + self.iterations

    def _minimiser(self, rho: np.ndarray, tau: float, gamma: float | None) -> np.ndarray:
        """That of one γ."""
        flow = self._flow
        self.iterations = 0
        self._settle(rho, gamma)
        flow.heat.set_time(0.5 * self._gamma * tau)
        self._must_resolve(rho, tau, _WIDEST[0])
        self._relax(rho, tau)
        implicit = self._gamma * self._stiffness
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
            with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
                mapped, density, wanted = self._map(z, rho)  # if lost, the residual is not finite
            # as much as there is, or as the next round wants there to be
            carried = flow.masses * np.maximum(density, wanted)
            self.residual = flow.comm.allreduce(float(np.abs(mapped - z).sum(axis=0) @ carried))
            if history and flow.sum(density) < 0.5 * flow.sum(rho):
                z = history[-1][0] + self._mixing * history[-1][1]  # acceleration left what
                history.clear()  # logarithms can say
                continue
            if self.residual < _TOLERANCE:
                density = self._kept(rho, density, tau)
                self._must_fall(rho, density, tau)
                self._must_resolve(density, tau, _WIDEST[1])
                self._start = z
                return density
            if not self.residual < np.inf:
                break
            if self.residual > _WORSE * best:
                history.clear()  # acceleration led astray
                best = self.residual
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
        if self._widening > 1.0:
            needed = max(needed, min(needed * self._widening, 0.9 * T / _COLD))
        if gamma or needed == 2.0 * T:
            self._gamma = needed
        elif not 0.5 * self._gamma < needed <= self._gamma:
            cold = T <= _COLD * needed
            self._gamma = float(2.0 ** np.ceil(np.log2(needed))) if cold else needed
        cold = T <= _COLD * self._gamma
        debias = self._asked or ("first order" if cold else "divergence")
        if debias != self._debias:
            self._debias, self._start = debias, None

    def _relax(self, rho: np.ndarray, tau: float) -> None:
        """δ and r for a step from rho; what of γ is implicit, and of log s with θ log ρ'."""
        self._delta = 0.5 * self._flow.problem.birth_death * self._gamma * tau
        if self._delta:
            self._relaxed = 0.5 * self._delta * np.log(np.maximum(self._flow.heat(rho), _LEAST))
        self._theta = DEBIASING[self._debias] / (1.0 + 0.5 * self._delta)
        self._stiffness = 1.0 / (1.0 + self._delta) - self._theta

    def _must_resolve(self, density: np.ndarray, tau: float, most: float) -> None:
        """Deconvolution of first order is for kernels narrower than the law."""
        if self._asked is None and self._debias == "first order":
            root = np.sqrt(density)
            spread = root * np.abs(self._flow.heat(root) - root)
            if (wide := self._flow.sum(spread)) > most:
                raise self._failure(tau, f"its kernel is too wide for the law ({wide:.2g})")

    def _kept(self, before: np.ndarray, after: np.ndarray, tau: float) -> np.ndarray:
        """Mass is lost where logarithms are cut off; with births it is as good as c is."""
        old, new = self._flow.sum(before), self._flow.sum(after)
        if not abs(new - old) <= (_RELAXED if self._delta else _ROUNDING) * old:
            raise self._failure(tau, f"of a mass of {old:.6g}, {new:.6g} would be left")
        return after * (old / new) if self._delta else after

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
        flow, gamma, theta, delta = self._flow, self._gamma, self._theta, self._delta
        log_b, log_s = z
        Kb, up = self._kernel(log_b)
        a = rho / np.maximum(Kb, _LEAST)
        if delta:
            a = (a * np.exp(self._relaxed)) ** (1.0 / (1.0 + delta))
        log_q = np.log(np.maximum(flow.heat(a), _LEAST)) - up / (1.0 + delta) - self._relaxed
        log_density = (1.0 + delta) * log_b + log_q
        density = np.exp(log_density)
        if delta:  # r b times a constant, r a less: the one with which the mass is kept
            lacking = np.log(np.divide(flow.sum(rho), flow.sum(density)))
            shift = lacking * (1.0 + delta) / (delta * (2.0 + delta))
            log_b, log_q = log_b + shift, log_q - shift / (1.0 + delta)
            log_density, density = log_density + lacking, density * np.exp(lacking)
        deviation = np.zeros(())
        if self._debias == "divergence":
            Ks, up = self._kernel(log_s)
            unmet = log_density + self._relaxed - np.log(np.maximum(Ks, _LEAST)) - up
            deviation = log_s - theta * log_density
            log_s = (log_s + unmet) / (2.0 + delta)
        elif self._debias == "first order":
            root = theta * (log_density + self._relaxed)
            Ks, up = self._kernel(root)
            wider = np.log(np.maximum(Ks, _LEAST)) + up - root
            correction = np.clip(wider, -_MOST_CORRECTION, _MOST_CORRECTION)
            deviation = theta * (self._relaxed - correction)
        slope: np.ndarray | float = 1.0
        beyond = np.zeros(())
        if delta:
            slope, beyond = self._price(log_b, theta * log_density + deviation)
        force = gamma * (slope * (log_q / (1.0 + delta) + deviation) + beyond)
        force = force - flow.potential(density)
        kappa = gamma * slope * self._stiffness + flow.temperature
        new = (self._of_mass if delta else self._balance)(force, kappa, log_density)
        top = density.max(initial=0.0)
        mapped = np.stack([(new - log_q) / (1.0 + delta), log_s])
        return mapped, density, np.exp(np.minimum(new, np.log(top)))

    def _price(self, log_b: np.ndarray, log_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A slope w (n,) of (s^−δ − b^−δ)/δ in log b, and w (log b − log s) less that.

        It is concave: w is that of the chord from s where b > s, that of the tangent elsewhere.
        """
        away = np.clip(self._delta * (log_b - log_s), -_MOST_AWAY, _MOST_AWAY)
        away = np.where(np.abs(away) < 1e-9, 1e-9, away)
        scale = np.exp(np.clip(self._relaxed - self._delta * log_s, -_STEEPEST, _STEEPEST))
        chord = scale * -np.expm1(-away) / away
        slope = np.where(away > 0, chord, scale * np.exp(-away))
        return slope, (slope - chord) * (log_b - log_s)

    def _of_mass(
        self, force: np.ndarray, kappa: np.ndarray | float, start: np.ndarray
    ) -> np.ndarray:
        """As `_balance` (n,), with the constant c in the force that makes the mass one."""
        flow, internal = self._flow, self._flow.problem.internal
        if internal is not None and not internal.smooth:
            internal = None
        density = np.exp(start)
        excess = kappa * start - force
        if internal is not None:
            excess = excess + internal.derivative(density)
        multiplier = np.divide(flow.sum(density * excess), flow.sum(density))
        for _ in range(50):
            log_density = self._balance(force + multiplier, kappa, start)
            density = np.exp(np.minimum(log_density, _MOST_AWAY))
            slope = kappa
            if internal is not None:
                slope = kappa + density * internal.second_derivative(density)
            mass = flow.sum(density)
            multiplier -= np.divide(mass * np.log(mass), flow.sum(density / slope))
            if abs(mass - 1.0) < 1e-13:
                break
        return log_density

    def _kernel(self, log_v: np.ndarray) -> tuple[np.ndarray, float]:
        """K v/c and log c, c the largest v: nothing overflows."""
        top = self._flow.comm.allreduce(float(log_v.max(initial=-np.inf)), MPI.MAX)
        return self._flow.heat(np.exp(log_v - top)), top

    def _balance(
        self, force: np.ndarray, kappa: np.ndarray | float, start: np.ndarray
    ) -> np.ndarray:
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
