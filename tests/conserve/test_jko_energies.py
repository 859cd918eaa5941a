"""Every JKO method with every energy, on a line and in the plane, as the table in docs/jko.md."""

from pathlib import Path

import numpy as np
import pytest
from jko_agreement import erf_network

import ddpde
from ddpde.errors import ProblemError
from ddpde.problem import GaussianLaw, Problem
from ddpde.problem.catalogue import erf_teacher
from ddpde.problem.classics import Attraction
from ddpde.problem.internal import Congestion, PorousMedium
from ddpde.step import JKO_METHODS

TABLE = Path(__file__).parents[2] / "docs" / "jko.md"
ENERGIES = {
    "network risk": {},
    "potential": {},
    "entropy": {"temperature": 0.3},
    "porous medium": {"internal": PorousMedium(2.0)},
    "pair interaction": {"interaction": Attraction(1.0)},
    "ρ ≤ 1": {"internal": Congestion(1.0), "temperature": 0.1},
    "birth and death": {"birth_death": 1.0, "temperature": 0.1},
}


def problem(energy: str, dim: int) -> Problem:
    if energy == "network risk":
        return erf_teacher() if dim == 1 else erf_network()
    return Problem(
        name="one of each",
        initial=GaussianLaw((0.5,) * dim, (0.6,) * dim),
        potential=lambda theta: 0.5 * (theta**2).sum(axis=1),
        **ENERGIES[energy],
    )


def documented() -> dict[str, dict[str, str]]:
    """By methods and energies what stands in the table: yes, no or a line."""
    rows = [line.strip(" |").split(" | ") for line in TABLE.read_text().splitlines() if "|" in line]
    start = next(k for k, row in enumerate(rows) if row[1:] == list(ENERGIES))
    rows = rows[start + 2 : start + 2 + len(JKO_METHODS)]
    return {name.strip("`"): dict(zip(ENERGIES, cells, strict=True)) for name, *cells in rows}


def test_the_table_has_every_method():
    assert list(documented()) == list(JKO_METHODS)


@pytest.mark.parametrize("dim", (1, 2))
@pytest.mark.parametrize("energy", ENERGIES)
@pytest.mark.parametrize("method", JKO_METHODS)
def test_a_method_with_an_energy(method, energy, dim):
    cells = 24 if "quantile" in method else 60
    if dim == 1:
        mesh = ddpde.interval(-4, 4, cells=cells)
    else:
        mesh = ddpde.box((-3, -1.5), (3, 3), cells=(12, 16))
    inner = {"inner_steps": 2} if "dynamic" in method else {}

    def solved():
        given = problem(energy, dim)
        return ddpde.solve(given, mesh, times=[0.1], degree=2, method=method, dt=0.05, **inner)

    word = documented()[method][energy]
    if word == "no" or (word == "line" and dim == 2):
        with pytest.raises(ProblemError, match=r"does not take|exist on intervals") as refused:
            solved()
        assert refused.value.remedy
        return
    history = solved().history
    assert np.abs(history["mass"] - 1).max() < 1e-12
    assert history["minimum"].min() >= 0
    assert np.diff(history["free_energy"]).max() < 0
