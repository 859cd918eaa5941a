"""Branches of stationary states over temperature: folds, bifurcations, symmetries."""

from dataclasses import replace

import numpy as np
import pytest
from wells import DAWSON, T_C, line, second_moment

import ddpde
from ddpde.problem import GaussianLaw, Problem


@pytest.mark.parametrize("theta", T_C)
def test_critical_temperature_of_dawson(theta):
    exact = T_C[theta]
    branches = ddpde.continuation(
        lambda T: ddpde.problems.dawson(T, theta, mean=0.0),
        line(half=4.5, cells=48),
        [1.4 * exact, 0.7 * exact],
    )
    (critical,) = branches[0].critical
    assert critical.temperature == pytest.approx(exact, abs=1e-12)
    assert len(branches) == 3
    ends = [branch.states[-1].mean[0] for branch in branches]
    assert ends[0] == pytest.approx(0, abs=1e-10)
    assert ends[1] == pytest.approx(-ends[2], abs=1e-10) and abs(ends[1]) > 0.3
    assert [b.states[-1].unstable for b in branches] == [1, 0, 0]


def test_branches_of_dawson_pass_the_wanted_temperatures():
    branches = ddpde.continuation(
        lambda T: ddpde.problems.dawson(T, mean=0.0), line(), [0.6, *sorted(DAWSON)[::-1]]
    )
    for T, (m, x2, ordered, disordered) in DAWSON.items():
        (middle,), (one,), (other,) = (branch.at(T) for branch in branches)
        assert middle.free_energy == pytest.approx(disordered, abs=1e-12)
        assert one.mean[0] == pytest.approx(-other.mean[0], abs=1e-10)
        for state in (one, other):
            assert abs(state.mean[0]) == pytest.approx(m, abs=1e-10)
            assert second_moment(state) == pytest.approx(x2, abs=1e-10)
            assert state.free_energy == pytest.approx(ordered, abs=1e-12)
    figure = ddpde.phase_diagram(branches)
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["stable", "unstable"]


def test_a_fold_is_passed():
    """A tilted well: the state on the wrong side ends in a fold, and comes back unstable."""

    def tilted(x):
        return x[:, 0] ** 4 / 4 - x[:, 0] ** 2 / 2 - 0.02 * x[:, 0]

    (branch,) = ddpde.continuation(
        lambda T: replace(ddpde.problems.dawson(T, mean=-1.0), potential=tilted),
        line(),
        [0.1, 0.3, 0.6],
    )
    assert not branch.critical
    assert [state.unstable for state in branch.at(0.1)] == [0, 1]
    assert [state.unstable for state in branch.at(0.3)] == [0, 1]
    assert not branch.at(0.6)
    assert 0.37 < branch.temperatures.max() < 0.38


def test_a_continuous_symmetry():
    """|x|⁴/4 − |x|²/2 in the plane: ⟨|x|²⟩ = 2T at T_c = 1/π; ordered states come in a circle."""

    def well(x):
        r2 = (x**2).sum(axis=1)
        return r2**2 / 4 - r2 / 2

    def attraction(x, y):
        return 0.5 * ((x[:, None, :] - y) ** 2).sum(axis=2)

    problem = Problem(
        "plane",
        GaussianLaw((0.0, 0.0), (0.5, 0.5)),
        potential=well,
        interaction=attraction,
        temperature=0.1,
    )
    mesh = ddpde.box((-3.5, -3.5), (3.5, 3.5), cells=(14, 14))
    branches = ddpde.continuation(lambda T: replace(problem, temperature=T), mesh, [0.6, 0.1])
    assert branches[0].critical[0].temperature == pytest.approx(1 / np.pi, abs=1e-12)
    states = [branch.states[-1] for branch in branches]
    assert [state.unstable for state in states] == [2, 0, 0]
    there = replace(problem, initial=GaussianLaw((0.3, 0.9), (0.5, 0.5)))
    states.append(ddpde.stationary(there, mesh))
    radii = [np.hypot(*state.mean) for state in states]
    assert radii == pytest.approx([0, *[0.8813509] * 3], abs=1e-7)
    # turning costs nothing: that rate is zero, the others are negative
    assert ddpde.stability(states[-1], count=2).rates == pytest.approx([0, -1.0208945], abs=1e-6)
