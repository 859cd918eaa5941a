"""Finite-N systems against closed forms: noise common or independent, interactions, birth-death.

Every bound is a few Monte Carlo standard errors, and each test says which wrong constant it
would notice.
"""

import numpy as np
import pytest

from ddpde.particles import (
    SGD,
    Conic,
    Diffusion,
    GradientFlow,
    Langevin,
    LawPath,
    Regime,
    Reinjection,
    risk,
    train,
)
from ddpde.problem import (
    DensityLaw,
    GaussianInputs,
    GaussianLaw,
    Problem,
    RidgeUnit,
    catalogue,
    identity,
)


class Attraction:
    """½ (θ − θ')²."""

    def __call__(self, theta, other):
        return 0.5 * (theta - other[:, 0]) ** 2

    def factors(self, theta):
        xp, x = theta.__array_namespace__(), theta[:, 0]
        one = xp.ones_like(x)
        left = 0.5 * xp.stack([x * x, -2.0 * x, one], axis=1)
        return left, xp.stack([one, x, x * x], axis=1)


def half_square(theta):
    return 0.5 * theta[:, 0] ** 2


def close(samples, expected, sigmas=4.0):
    """Whether the mean over independent samples (…, replicas) is as expected; its error."""
    error = samples.std(axis=-1, ddof=1) / np.sqrt(samples.shape[-1])
    np.testing.assert_array_less(np.abs(samples.mean(axis=-1) - expected), sigmas * error)
    return error


# --- quadratic interaction: drift −λx − κ(x − mean), λ = κ = 1, T = ½, s₀ = ¼ -------------------


def quadratic(start=0.25):
    return Problem(
        name="quadratic",
        potential=half_square,
        interaction=Attraction(),
        initial=GaussianLaw((0.0,), (start**0.5,)),
        temperature=0.5,
    )


def test_quadratic_interaction_has_the_exact_constants_of_finite_n():
    # Var X − s = Cov = (a − s)/N; coupling N E|X − X̄|² = 0.0577973572522 at t = 1
    width, replicas, eps = 5, 40_000, 0.01
    settings = dict(replicas=1, step_size=eps, times=[1.0], seed=1, dtype="float64")
    # so many replicas of so few particles: one cloud of independent groups, θ in R^width
    groups = Problem(
        name="groups",
        potential=lambda t: (
            0.5 * (t * t).sum(axis=1) + 0.5 * ((t - t.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
        ),
        initial=GaussianLaw.isotropic(width, 0.5),
        temperature=0.5,
    )
    alone = Problem(
        name="groups",
        potential=lambda t: (t * t).sum(axis=1),  # the mean of the law is zero
        initial=GaussianLaw.isotropic(width, 0.5),
        temperature=0.5,
    )
    x = train(groups, replicas, **settings).theta[0, 0]
    copies = train(alone, replicas, **settings).theta[0, 0]  # same start, same noise
    # Euler–Maruyama's own variances: those of the continuous time are within 3 %
    steps = round(1 / eps)
    a, s = 0.25, 0.25
    for _ in range(steps):
        a, s = (1 - eps) ** 2 * a + eps, (1 - 2 * eps) ** 2 * s + eps
    assert a - s == pytest.approx(0.216166179191, rel=0.03)
    mean = x.mean(axis=1)
    covariance = (mean**2 - (x**2).mean(axis=1) / width) * width / (width - 1)
    error = close(covariance, (a - s) / width)
    assert error < 0.03 * (a - s) / width
    close((x**2).mean(axis=1), s + (a - s) / width)
    coupling = ((x - copies) ** 2).mean(axis=1) * width
    assert close(coupling, coupling_constant(eps, steps)) < 0.01 * 0.0578
    assert coupling_constant(1e-4, 10_000) == pytest.approx(0.0577973572522, rel=1e-3)


def coupling_constant(eps, steps):
    """N E|X − X̄|² of the Euler scheme: both are driven by the same mean of the noise.

    With m the mean: m ← (1 − ε) m + ε^{1/2} g/√N, e ← (1 − 2ε) e + ε m, e = X − X̄.
    """
    mm, me, ee = 0.25, 0.0, 0.0
    for _ in range(steps):
        ee = (1 - 2 * eps) ** 2 * ee + 2 * eps * (1 - 2 * eps) * me + eps**2 * mm
        me = (1 - eps) * (1 - 2 * eps) * me + eps * (1 - eps) * mm
        mm = (1 - eps) ** 2 * mm + eps
    return ee


def test_interaction_and_mean_field_copies_give_the_stationary_coupling():
    # N E|X − X̄|² → κ²T/(λ(λ+κ)(2λ+κ)) = 1/12, by the interaction itself and a given law
    width, eps, times = 50, 0.02, np.arange(4.0, 24.1, 2.0)
    problem = quadratic()
    settings = dict(replicas=24, step_size=eps, times=times, seed=2)
    particles = train(problem, width, **settings).theta[..., 0]
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)  # of mean zero at all times
    path = LawPath([0.0], 0.5 * nodes[:, None], weights)
    copies = train(problem, width, law=path, **settings).theta[..., 0]
    gap = width * ((particles - copies) ** 2).mean(axis=2)  # (times, replicas)
    error = close(gap.mean(axis=0), coupling_constant(eps, 2000))
    assert coupling_constant(eps, 2000) == pytest.approx(1 / 12, rel=0.02)
    assert error < 0.12 / 12  # 1/12 against 1/8 of a lost factor


# --- SGD noise -----------------------------------------------------------------------------------


def linear(label_noise, mean=0.0, std=1.0):
    """σ = wx, y = x + label_noise · n; ℓ = (y − f)², so that ε = γ/2 where a paper has ½ℓ and γ."""
    return Problem(
        name="linear",
        unit=RidgeUnit(identity, 1),
        data=GaussianInputs(1, lambda x: x[:, 0], label_noise, quadrature_points=8),
        initial=GaussianLaw((mean,), (std,)),
    )


@pytest.mark.parametrize("width", [3, 40])
def test_a_linear_net_moves_in_lockstep_with_a_floor_for_every_width(width):
    # with ℓ = ½(y − f)²: E(w̄ − b)² = γσ²/(2 − 3γ); here ℓ = (y − f)², hence ε = γ/2
    gamma = 0.1
    regime = Regime(gamma / 2, beta=1.0)
    times = 0.05 * np.arange(200, 6001, 100)
    run = train(
        linear(1.0), width, replicas=32, step_size=regime.step_size(width), times=times, seed=3
    )
    w = run.theta[..., 0].astype(float)
    spread = w.std(axis=2)
    np.testing.assert_allclose(spread / spread[:1], 1.0, rtol=2e-3)  # frozen
    floor = ((w.mean(axis=2) - 1.0) ** 2).mean(axis=0)
    error = close(floor, gamma / (2 - 3 * gamma))
    assert error < 0.1 * gamma / 2


@pytest.mark.parametrize("own", ["samples", "brownian motions"])
def test_independent_noise_spreads_the_linear_net_and_leaves_its_mean_alone(own):
    # dm = (b − m)dt, ds/dt = γ(2e² + σ²) with e = b − m, for ℓ = ½(y − f)²: time is 2t here
    gamma, width, t = 0.1, 400, 2.0
    if own == "samples":
        settings = dict(system=SGD(noise="independent"), step_size=gamma / 2, width=width)
    else:
        settings = dict(system=Diffusion(gamma / 2), step_size=0.01, width=width)
    run = train(linear(1.0, std=0.1), replicas=64, times=[t / 2], seed=4, **settings)
    w = run.theta[0, ..., 0].astype(float)
    eps = 2 * settings["step_size"]
    mean, spread = 0.0, 0.01
    for _ in range(round(t / eps)):
        # Σ of ½-loss: 2e² + σ²; a step of length eps has the variance eps·gamma·Σ
        mean, spread = mean + eps * (1 - mean), spread + eps * gamma * (2 * (1 - mean) ** 2 + 1)
    assert close(w.var(axis=1), spread, 5) < 0.03 * spread
    assert abs(spread - 0.01) > 0.15
    assert w.mean(axis=1).std() < 2.0 * np.sqrt(spread / width)  # no common noise
    assert abs(w.mean() - mean) < 5 * np.sqrt(spread / width / 64)


@pytest.mark.parametrize("noise", ["common", "independent"])
def test_the_erf_neuron_has_the_papers_two_limits(noise):
    # γ = 0.1, t = 5: std of the mean weight over seeds 0.09 and 0.007 (N = 200),
    # variance within a network 0.041–0.048 and 0.0648
    problem = catalogue.erf_teacher(label_noise=0.5)
    width, gamma = 200, 0.1
    run = train(
        problem,
        width,
        replicas=64,
        step_size=gamma / 2,
        times=[2.5],
        seed=5,
        system=SGD(noise=noise),
    )
    w = run.theta[0, ..., 0].astype(float)
    scatter, inner = w.mean(axis=1).std(ddof=1), w.var(axis=1).mean()
    if noise == "common":
        assert 0.065 < scatter < 0.125 and 0.036 < inner < 0.053
    else:
        assert 0.003 < scatter < 0.018 and 0.058 < inner < 0.072


# --- birth and death -----------------------------------------------------------------------------


def test_the_replicator_reweights_by_the_potential():
    # ∂_t ρ = −a(V − V̄)ρ for frozen particles: ρ_t ∝ ρ₀ e^{−aVt}; V = (x² − 1)²/4.
    # V is made piecewise constant, on cells of 1/64, so that its gradient is zero.
    def steps(theta):
        xp = theta.__array_namespace__()
        x = (xp.floor(theta[:, 0] * 64.0) + 0.5) / 64.0
        return (x * x - 1.0) ** 2 / 4

    problem = Problem(
        name="replicator",
        potential=steps,
        initial=GaussianLaw((0.5,), (0.5**0.5,)),
        birth_death=1.0,
    )
    run = train(problem, 2000, replicas=16, step_size=0.02, times=[1.0, 5.0], seed=6)
    x = run.theta[..., 0].astype(float)
    close(x.mean(axis=2), np.array([0.44873326701271, 0.49354190632748]))
    error = close((x**2).mean(axis=2), np.array([0.614667609499, 0.6466990836111]))
    assert (error < 0.012).all()  # at t = 0 it is 0.75


def test_reinjection_balances_killing():
    # V = 0 for x < 0, 1 for x > 0; fraction p above: killed at α'(1 − p), half of them put back
    # above: p' = −α' p (1 − p)/2, hence p/(1 − p) = e^{−α't/2} p₀/(1 − p₀)
    problem = Problem(
        name="halves",
        potential=lambda theta: (theta[:, 0] > 0) * theta.dtype.type(1.0),
        initial=GaussianLaw((0.6744897501960817,), (1.0,)),  # p₀ = ¾
    )
    law = GaussianLaw((0.0,), (1.0,))
    run = train(
        problem,
        2000,
        replicas=16,
        step_size=0.01,
        times=[1.0, 2.0],
        seed=7,
        system=Langevin(Reinjection(law, rate=2.0)),
    )
    odds = 3.0 * np.exp(-np.array([1.0, 2.0]))
    assert (close((run.theta[..., 0] > 0).mean(axis=2), odds / (1 + odds), 5) < 0.01).all()


def mixture_energies(start, rate, t_end, system=None):
    problem = catalogue.gaussian_mixture(start, rate)
    settings = dict(replicas=4, step_size=0.01, times=[t_end], seed=8, system=system)
    end = train(problem, 200, **settings).theta[0].astype(float)
    return np.array([mixture_energy(problem, theta) for theta in end])


def test_birth_and_death_speed_up_a_gaussian_mixture():
    # Rotskoff et al. 2019, good start; the energy falls from 0.07
    without, with_ = (mixture_energies("good", rate, 10.0) for rate in (0.0, 5.0))
    assert (without > 3e-3).all() and (0 < with_).all() and (with_ < 1e-3).all()


def test_reinjection_recovers_from_a_bad_start():
    # all units near −2: neither gradient nor birth and death bring any to +2, where one is missing
    law = GaussianLaw((0.0, 0.0), (0.1, 2 / np.sqrt(3)))
    for rate in (0.0, 5.0):
        stuck = mixture_energies("bad", rate, 40.0)
        assert (stuck > 0.012).all() and (stuck < 0.016).all()
    assert (mixture_energies("bad", 5.0, 40.0, Langevin(Reinjection(law, 5.0))) < 1.5e-3).all()


def mixture_energy(problem, theta):
    """½∫(f − target)² of a cloud (N, 2): C_f + mean potential + ½ mean interaction."""
    w = problem.interaction(theta, theta).mean()
    return 0.06886827007 + problem.potential(theta).mean() + 0.5 * w


# --- weights and positions -----------------------------------------------------------------------


class Dirichlet:
    """Σ_{|k| ≤ 4} cos k(θ − θ')."""

    orders = np.arange(-4, 5)

    def __call__(self, theta, other):
        xp = theta.__array_namespace__()
        k = xp.asarray(self.orders, dtype=theta.dtype)
        return xp.cos(k * (theta - other[:, 0])[..., None]).sum(axis=-1)


class Against:
    """−∫ φ(θ − θ') ν*(dθ')."""

    def __call__(self, theta):
        xp = theta.__array_namespace__()
        spikes = xp.asarray([[1.0], [2.5], [4.5]], dtype=theta.dtype)
        return -Dirichlet()(theta, spikes) @ xp.asarray([0.5, 0.3, 0.4], dtype=theta.dtype)


def test_weight_position_particles_follow_the_circle_of_chizat():
    turn, width = 2 * np.pi, 256
    problem = Problem(
        name="circle",
        potential=Against(),
        interaction=Dirichlet(),
        initial=DensityLaw(1, lambda t: np.full(len(t), 1 / turn), support=(0.0, turn)),
    )
    grid = turn * np.arange(width)[:, None] / width
    masses, losses = [], []
    for step in (2e-3, 1e-3):  # first order in the step: extrapolated
        run = train(
            problem,
            width,
            replicas=1,
            step_size=step,
            times=[0.0, 0.1],
            seed=0,
            dtype="float64",
            system=Conic(alpha=1.0, beta=0.1, mass=0.2),
            start=grid,
        )
        masses.append(run.weights[:, 0].mean(axis=1))
        losses.append(
            [
                spectrum_loss(t[:, 0], w)
                for t, w in zip(run.theta[:, 0], run.weights[:, 0], strict=True)
            ]
        )
    mass, loss = (2 * np.array(v[1]) - np.array(v[0]) for v in (masses, losses))
    np.testing.assert_allclose(loss, [2.1792652515, 1.4630551745], rtol=2e-5)
    np.testing.assert_allclose(mass, [0.2, 0.3888368771], rtol=2e-5)


def spectrum_loss(theta, weights):
    k = Dirichlet.orders[:, None]
    nu = (np.exp(-1j * k * theta) * weights).mean(axis=1)
    star = np.exp(-1j * k * np.array([1.0, 2.5, 4.5])) @ [0.5, 0.3, 0.4]
    return 0.5 * (np.abs(nu - star) ** 2).sum()


# --- noiseless flow, Langevin --------------------------------------------------------------------


def test_gradient_flow_of_a_linear_net_is_a_translation():
    problem = linear(0.0)
    run = train(
        problem,
        50,
        replicas=2,
        step_size=0.5,
        times=[0.0, 0.5, 1.0],
        seed=9,
        dtype="float64",
        system=GradientFlow(1e-10),
    )
    w = run.theta[..., 0]
    mean = w.mean(axis=2, keepdims=True)
    np.testing.assert_allclose(w - mean, np.broadcast_to((w - mean)[:1], w.shape), atol=1e-9)
    decay = np.exp(-2 * run.times)[:, None, None]
    np.testing.assert_allclose(mean - 1.0, decay * (mean[:1] - 1.0), rtol=1e-8)


def test_kuramoto_particles_synchronise_to_the_self_consistent_order():
    # K/T = 3: r = 0.7241587176263529; noise √(T) or coupling off by two would give 0.94 or 0
    problem = catalogue.kuramoto(temperature=0.5, coupling=1.5)
    times = np.arange(20.0, 40.1, 2.0)
    run = train(problem, 1000, replicas=8, step_size=0.02, times=times, seed=10)
    r = np.abs(np.exp(1j * run.theta[..., 0].astype(float)).mean(axis=2)).mean(axis=0)
    assert close(r, 0.7241587176263529, 6) < 0.005


def test_langevin_of_a_network_has_the_gibbs_state():
    # T = 0.05 of their PDE with 2T Δ, λ = 0.1: R, mean, var
    problem = catalogue.erf_teacher(temperature=0.1, ridge=0.1, mean=0.9, std=0.56)
    times = np.arange(4.0, 16.1, 2.0)
    run = train(problem, 500, replicas=8, step_size=0.02, times=times, seed=11, system=Langevin())
    w = run.theta[..., 0].astype(float)
    assert close(w.mean(axis=(0, 2)), 0.908296049919, 5) < 0.01
    assert close(w.var(axis=2).mean(axis=0), 0.314418382546, 6) < 0.01
    r = risk(problem, run.theta[-1], problem.data, samples=20_000)[0]
    assert abs(r.mean() - 0.055975210912) < 0.004
