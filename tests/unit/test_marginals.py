"""W₂ between the law of k of N particles and independent draws: exact Gaussians, and nothing."""

import json

import numpy as np
import pytest
from report_folders import fluctuating

from ddpde import report
from ddpde.compare import QuadraticInteraction, chaos_gap
from ddpde.errors import ProblemError
from ddpde.validate import ParticlePlan

SYSTEM, TIME = QuadraticInteraction(1.0, 1.0, 0.5, 0.25), 2.0
STD = SYSTEM.mean_field_variance(TIME) ** 0.5


class Normal:
    """The mean-field law."""

    def __init__(self, mean=0.0, std=STD):
        self.mean, self.std = mean, std

    def sample(self, count, rng):
        return self.mean + self.std * rng.standard_normal((count, 1))


def particles(rng, replicas, width):
    """The exact law of N interacting particles: variance a/N of their mean, s around it."""
    s, a = SYSTEM.mean_field_variance(TIME), SYSTEM.free_variance(TIME)
    z = np.sqrt(s) * rng.standard_normal((replicas, width, 1))
    mean = z.mean(axis=1, keepdims=True)
    return z - mean + np.sqrt(a / s) * mean


@pytest.mark.parametrize(("width", "k"), [(5, 2), (5, 5), (10, 4)])
def test_exact_gaussian_marginals(width, k):
    """W₂ = √(s + k(a − s)/N) − √s, found within its interval, and resolved."""
    exact = SYSTEM.marginal_w2(TIME, width, k) ** 2
    found = [
        chaos_gap(particles(rng, 1000, width), Normal(), k, rng=rng, most=250)
        for rng in map(np.random.default_rng, range(4))
    ]
    squares = np.array([gap.squared for gap in found])
    error = np.sqrt(np.sum([gap.squares.var(ddof=1) / gap.squares.size for gap in found])) / 4
    assert abs(squares.mean() - exact) < 4 * error
    # it would be missed without the floor taken away, and it is not nothing
    assert found[0].floor > exact
    assert squares.mean() > 4 * error
    assert found[0].width == width and found[0].points == min(250, 62 * width)


def test_a_shifted_law_is_found():
    """|m − m'|² a coordinate; one particle of each replica suffices."""
    rng = np.random.default_rng(5)
    cloud = Normal(std=0.5).sample(64 * 20, rng).reshape(64, 20, 1)
    gap = chaos_gap(cloud, Normal(mean=0.3, std=0.5), 1, rng=rng)
    assert abs(gap.squared - 0.09) < gap.half_width(1e-3) and gap.resolved
    assert gap.distance == pytest.approx(0.3, abs=0.1)


def test_noise_common_to_all_particles_is_no_chaos():
    """Each particle has the law, two together have not."""
    rng = np.random.default_rng(6)
    own, common = rng.standard_normal((400, 6, 1)), rng.standard_normal((400, 1, 1))
    cloud = STD * np.sqrt(0.5) * (own + common)
    alone, pair = (chaos_gap(cloud, Normal(), k, rng=rng) for k in (1, 3))
    assert abs(alone.squared) < alone.half_width(1e-3)
    assert pair.squared > pair.half_width(1e-3)


def test_independent_draws_have_no_gap():
    """Mean zero, and the interval of 95 % covers it: 95 ± 6 of 100 systems of 32 replicas."""
    rng = np.random.default_rng(7)
    found = [
        chaos_gap(Normal().sample(32 * 8, rng).reshape(32, 8, 1), Normal(), 2, rng=rng)
        for _ in range(100)
    ]
    squares = np.array([gap.squared for gap in found])
    assert abs(squares.mean()) < 4 * squares.std() / 10
    assert sum(abs(gap.squared) > gap.half_width() for gap in found) <= 14


def test_what_cannot_be_compared():
    cloud, rng = np.zeros((8, 3, 1)), np.random.default_rng(0)
    for wrong, k in ((cloud, 4), (cloud, 0), (cloud[:3], 1), (cloud[0], 1)):
        with pytest.raises(ProblemError):
            chaos_gap(wrong, Normal(), k, rng=rng)


def test_a_case_asks_for_it(tmp_path):
    """From [particles] to check and table."""
    plan = ParticlePlan((10, 20), 8, 0.025, bias_factor=2, risk_samples=500, marginals=(1, 2))
    folder = fluctuating(tmp_path / "out", particles=plan)
    summary = json.loads((folder / "summary.json").read_text())
    assert [(g["k"], g["width"]) for g in summary["comparison"]["chaos"]] == [
        (1, 10), (1, 20), (2, 10), (2, 20)
    ]  # fmt: skip
    names = [check["name"] for check in summary["verdict"]["checks"]]
    assert {"law of a particle, N → ∞", "law of 2 particles, N → ∞"} <= set(names)
    page = report.write(folder).read_text()
    assert "Law of k of N particles against k independent draws" in page
