"""What may be asked of a finite-N system: restarts, starts, and what is refused by name."""

import numpy as np
import pytest
from recursions import EPS, RNG, a_problem, run

from ddpde.errors import ProblemError, SolverError
from ddpde.particles import (
    SGD,
    Conic,
    Diffusion,
    GradientFlow,
    Interrupted,
    Langevin,
    LawPath,
    Regime,
    Reinjection,
)
from ddpde.problem import GaussianInputs, GaussianLaw, tanh
from ddpde.problem.noise import SGDNoise


@pytest.mark.parametrize("system", [SGD(), Langevin(), GradientFlow(1e-6), Conic()])
def test_restart_is_bitwise(system, tmp_path, monkeypatch):
    monkeypatch.setattr("ddpde.particles.training._chunk_length", lambda *_: 3)
    problem = a_problem(temperature=0.0)
    settings = dict(replicas=2, times=EPS * np.array([0, 4, 20]))
    whole = run(problem, system, **settings)
    file = tmp_path / "state.npz"

    def stop(done):
        if done == 13:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        run(problem, system, checkpoint=file, progress=stop, **settings)
    seen = []
    resumed = run(problem, system, checkpoint=file, progress=seen.append, **settings)
    assert seen[0] > 13
    np.testing.assert_array_equal(resumed.theta, whole.theta)
    if whole.weights is not None:
        np.testing.assert_array_equal(resumed.weights, whole.weights)
    again = run(problem, system, checkpoint=file, progress=seen.clear, **settings)
    np.testing.assert_array_equal(again.theta, whole.theta)
    with pytest.raises(ProblemError, match="another training: seed differ"):
        run(problem, system, checkpoint=file, **settings, seed=4)
    file.write_bytes(b"nonsense")
    with pytest.raises(ProblemError, match="is no checkpoint"):
        run(problem, system, checkpoint=file, **settings)


def test_a_given_start_takes_the_place_of_the_initial_law():
    start = RNG.standard_normal((2, 5, 2))
    made = run(a_problem(), SGD(), replicas=2, start=start)
    np.testing.assert_array_equal(made.theta[0], start)
    conic = run(a_problem(temperature=0.0), Conic(mass=3.0), start=start[0])
    np.testing.assert_array_equal(conic.theta[0, 0], start[0])
    np.testing.assert_allclose(conic.weights[0], 3.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"system": SGD(), "problem": a_problem(birth_death=1.0)}, "needs the density"),
        (
            {"system": Langevin(), "problem": a_problem(birth_death=1.0)},
            "give Langevin a bandwidth",
        ),
        ({"system": Langevin(bandwidth=0.1)}, "without birth and death"),
        (
            {"system": SGD("reshuffled"), "problem": a_problem(data=GaussianInputs(2, tanh))},
            "no data set",
        ),
        ({"system": GradientFlow()}, "does not know the temperature"),
        ({"system": Conic()}, "does not know the temperature"),
        ({"system": Diffusion(1.0), "problem": a_problem(birth_death=1.0)}, "birth_death"),
        ({"system": Langevin(Reinjection(GaussianLaw((0.0,), (1.0,)), 1.0))}, "needs the density"),
        (
            {
                "system": Langevin(Reinjection(GaussianLaw((0.0,), (1.0,)), 1.0)),
                "problem": a_problem(temperature=0.0),
            },
            r"from a law on R\^1",
        ),
        ({"law": LawPath([0.0], np.zeros((3, 1)), np.ones(3))}, r"the law lives in R\^1"),
        ({"problem": a_problem(mass=2.0)}, "only Conic"),
        ({"problem": a_problem(noise=SGDNoise(0.1))}, "choose step_size / batch = scale"),
        ({"problem": a_problem(noise=SGDNoise(0.1)), "system": Langevin()}, "the noise of"),
        ({"problem": a_problem(noise=SGDNoise(0.1)), "system": Diffusion(0.2)}, "SGDNoise"),
        ({"system": Diffusion()}, "give scale"),
        (
            {"problem": a_problem(birth_death=1.0, temperature=0.0), "system": Conic()},
            "conserved = True",
        ),
        ({"start": np.zeros((4, 2))}, r"start of shape \(4, 2\)"),
        ({"start": np.full((3, 2), np.nan)}, "start holds NaN"),
    ],
)
def test_what_a_system_cannot_do_is_named(changes, message):
    settings = dict(problem=a_problem(), width=3, system=SGD())
    with pytest.raises(ProblemError, match=message):
        run(**(settings | changes))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD("twice"), "one of fresh, reshuffled, full"),
        (lambda: SGD(noise="none"), "one of common, independent"),
        (lambda: SGD("full", "independent"), "draw fresh ones"),
        (lambda: Diffusion(-1.0), "scale = -1.0"),
        (lambda: GradientFlow(0.0), "rtol = 0.0"),
        (lambda: Langevin(bandwidth=0.0), "bandwidth = 0.0: must be finite and > 0"),
        (lambda: Conic(mass=0.0), "mass = 0.0: must be finite and > 0"),
        (lambda: Conic(beta=-1.0), "beta = -1.0: must be finite and >= 0"),
        (lambda: Conic(sampling="some"), "sampling = 'some'"),
        (lambda: Regime(1.0, alpha=1.0), r"must lie in \[0, 1\)"),
        (lambda: Regime(1.0, beta=1.5), r"must lie in \[0, 1\]"),
        (lambda: Regime(0.0), "gamma = 0.0"),
        (lambda: Reinjection(GaussianLaw((0.0,), (1.0,)), 0.0), "must be finite and > 0"),
        (lambda: LawPath([1.0, 0.0], np.zeros((3, 1)), np.ones(3)), "must increase"),
        (lambda: LawPath([0.0], np.zeros((3, 1)), np.ones(4)), "give points"),
        (lambda: LawPath([0.0], np.zeros((3, 1)), np.zeros(3)), "positive sum"),
        (lambda: LawPath([0.0], np.full((3, 1), np.nan), np.ones(3)), "NaN"),
    ],
)
def test_wrong_descriptions_are_named(make, message):
    with pytest.raises(ProblemError, match=message):
        make()


def test_what_a_system_leaves_open_comes_from_the_problem():
    noisy, plain = a_problem(noise=SGDNoise(0.2)), a_problem()
    np.testing.assert_array_equal(run(noisy, Diffusion()).theta, run(plain, Diffusion(0.2)).theta)
    run(a_problem(noise=SGDNoise(EPS / 3)), SGD())
    growing = a_problem(birth_death=0.8, conserved=False, mass=2.0, temperature=0.0)
    explicit = a_problem(temperature=0.0)
    made, same = run(growing, Conic()), run(explicit, Conic(alpha=0.2, mass=2.0))
    np.testing.assert_array_equal(made.weights, same.weights)
    np.testing.assert_array_equal(made.theta, same.theta)


def test_a_stiff_flow_that_diverges_is_reported():
    problem = a_problem(temperature=0.0, ridge=1e4, schedule=lambda t: 1.0)
    with pytest.raises(SolverError, match="diverged"):
        run(problem, GradientFlow(), steps=100)
