"""Problems with exact solutions: each function gives a problem, the ends of a line for it, times,
and the exact values by quantity, each (n_times, ...)."""

import numpy as np
from scipy.integrate import solve_ivp

from ddpde.problem import DataSet, GaussianInputs, GaussianLaw, Problem, RidgeUnit, identity, square
from ddpde.problem.activations import erf
from ddpde.problem.catalogue import isotropic_gaussians
from ddpde.problem.classics import TURN, kuramoto, ornstein_uhlenbeck, quadratic_interaction


def gaussian(means, variances, energy):
    """Exact values by quantity, each (n_times, ...)."""
    second = np.array(variances) + np.array(means) ** 2
    return {
        "energy": np.array(energy),
        "mean": np.array(means)[:, None],
        "second_moment": second[:, None],
    }


def bell(mean, variance):
    """The Gaussian density on a line."""
    return lambda x: np.exp(-((x[..., 0] - mean) ** 2) / (2 * variance)) / np.sqrt(TURN * variance)


def entropy(variances):
    return -0.5 * np.log(TURN * np.e * variances)


def ou():
    t, T = np.array([0.0, 0.1, 0.5, 1.0]), 0.5
    m, s = np.exp(-t), 0.25 * np.exp(-2 * t) + T * (1 - np.exp(-2 * t))
    energy = 0.5 * (s + m * m) + T * entropy(s)
    return ornstein_uhlenbeck((1.0,), (0.5,), T), (-6.0, 6.0), t, gaussian(m, s, energy)


def attraction():
    t, T, lam, kap = np.array([0.0, 0.2, 0.7]), 0.5, 1.0, 2.0
    m, decay = np.exp(-t), np.exp(-2 * (lam + kap) * t)
    s = 0.25 * decay + T * (1 - decay) / (lam + kap)
    energy = 0.5 * lam * (s + m * m) + 0.5 * kap * s + T * entropy(s)
    problem = quadratic_interaction(lam, kap, T, 1.0, 0.5)
    return problem, (-4.0, 5.0), t, gaussian(m, s, energy)


def linear_neuron():
    t, lam, T, start = np.array([0.0, 0.2, 0.6]), 0.2, 0.6, 0.2
    problem = Problem(
        "linear",
        GaussianLaw((start,), (0.4,)),
        RidgeUnit(identity, 1),
        GaussianInputs(1, lambda x: x[:, 0], quadrature_points=4),
        temperature=T,
        ridge=lam,
    )
    rest = 1 / (1 + lam)
    m = rest + (start - rest) * np.exp(-2 * (1 + lam) * t)
    s = 0.16 * np.exp(-4 * lam * t) + T / (2 * lam) * (1 - np.exp(-4 * lam * t))
    return problem, (-6.0, 7.0), t, gaussian(m, s, (m - 1) ** 2)


def quadratic_neuron():
    t, tau, lam = np.array([0.0, 0.05, 0.2]), 0.31, 0.3
    problem = Problem(
        "quadratic",
        GaussianLaw((0.0,), (0.5,)),
        RidgeUnit(square, 1),
        GaussianInputs(1, lambda x: x[:, 0] ** 2, quadrature_points=4),
        temperature=2 * tau,
        ridge=lam,
    )
    ode = solve_ivp(
        lambda _, M: -24 * (M - 1) * M - 4 * lam * M + 4 * tau,
        (0, t[-1]),
        [0.25],
        t_eval=t,
        rtol=1e-12,
        atol=1e-13,
    )
    M = ode.y[0]
    return problem, (-6.0, 6.0), t, gaussian(0 * t, M, 3 * (M - 1) ** 2)


def erf_neuron(points=60):
    t = np.array([0.0, 1.0, 2.0, 5.0])
    problem = Problem(
        "erf",
        GaussianLaw((0.5,), (0.3,)),
        RidgeUnit(erf, 1),
        GaussianInputs(1, lambda x: 0.5 * (erf(x[:, 0]) + erf(3 * x[:, 0])), 0.0, points),
    )
    risk = [np.nan, 0.062320490652, 0.035364837930, 0.012515345254]
    m = [0.5, 0.788126513925, 0.948612567585, 1.201051289410]
    s = [0.09, 0.060480014517, 0.047975362193, 0.034654030159]
    return problem, (-1.5, 3.0), t, gaussian(m, s, risk)


def oscillators():
    """Fourier modes c_k' = −T k² c_k + ½ K k (c₁ c_{k−1} − c̄₁ c_{k+1})."""
    t, T, K, tilt, count = np.array([0.0, 0.5, 2.0]), 0.5, 1.5, 0.4, 64
    k = np.arange(1, count + 1)

    def slope(_, c):
        padded = np.concatenate([[1], c, [0]])
        attraction = 0.5 * K * k * (c[0] * padded[:-2] - c[0].conj() * padded[2:])
        return -T * k**2 * c + attraction

    start = np.zeros(count, complex)
    start[0] = 0.5 * tilt * np.exp(-1j)
    ode = solve_ivp(slope, (0, t[-1]), start, "DOP853", t, rtol=1e-12, atol=1e-14)
    x, weights = np.polynomial.legendre.leggauss(200)
    x, weights = np.pi * (x + 1), np.pi * weights
    waves = np.exp(1j * np.outer(k, x))
    density = (1 + 2 * (ode.y.T @ waves).real) / TURN
    energy = -0.5 * K * np.abs(ode.y[0]) ** 2 + T * (density * np.log(density)) @ weights
    exact = {
        "energy": energy,
        "mean": (density @ (weights * x))[:, None],
        "second_moment": (density @ (weights * x * x))[:, None],
    }
    return kuramoto(T, K, tilt), (0.0, TURN), t, exact


def radial():
    t = np.array([0.0, 0.1, 0.25, 0.5, 1.0])
    risk = [2.181405918, 0.657997627, 0.437957920, 0.399288746, 0.395327685]
    mean = [0.7950161, 1.1603054, 1.3333336, 1.4254191, 1.4632537]
    exact = {"energy": np.array(risk), "mean": np.array(mean)[:, None]}
    return isotropic_gaussians(40, 0.2), (0.0, 3.0), t, exact


def samples(count):
    """`erf_neuron` on samples; exact by the equations of Gauss points of the initial law."""
    t = np.array([0.0, 0.5, 1.0])
    x = np.random.default_rng(3).standard_normal((count, 1))
    y = 0.5 * (erf(x[:, 0]) + erf(3 * x[:, 0]))
    problem = Problem("erf", GaussianLaw((0.5,), (0.3,)), RidgeUnit(erf, 1), DataSet(x, y))
    nodes, masses = np.polynomial.hermite_e.hermegauss(40)
    masses = masses / masses.sum()
    x = x[:, 0]

    def misfit(w):
        return masses @ erf(np.outer(w, x)) - y

    def velocity(_, w):
        slope = np.sqrt(2 / np.pi) * x * np.exp(-0.5 * np.outer(w, x) ** 2)
        return -2 * slope @ misfit(w) / count

    ode = solve_ivp(velocity, (0, t[-1]), 0.5 + 0.3 * nodes, "DOP853", t, rtol=1e-12, atol=1e-13)
    risk = [np.mean(misfit(w) ** 2) for w in ode.y.T]
    mean = masses @ ode.y
    return problem, (-1.5, 3.0), t, gaussian(mean, masses @ ode.y**2 - mean**2, risk)
