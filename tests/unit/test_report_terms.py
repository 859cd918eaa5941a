"""A report speaks of the terms that a problem has, a user's own included, and of no others."""

import re
from dataclasses import replace

import numpy as np
import pytest
import report_folders

import ddpde
from ddpde import report
from ddpde.errors import DdpdeError
from ddpde.problem import DensityLaw, GivenNoise, PorousMedium
from ddpde.report import equations
from ddpde.report import folder as folder_of


def own(folder, mesh=None, **changes):
    """The page and the equations of a problem that no catalogue has."""
    problem = replace(
        ddpde.problems.ornstein_uhlenbeck(mean=(1.0,), std=(0.6,)),
        name="my_own",
        parameters={},
        **changes,
    )
    report_folders.plain(folder, problem, mesh or ddpde.interval(-4, 5, cells=12))
    page = report.write(folder).read_text(encoding="utf-8")
    return page, "".join(re.findall(r"<math.*?</math>", page, flags=re.S))


def test_birth_and_death(tmp_path):
    page, math = own(tmp_path, birth_death=0.5)
    assert "α" in math and "Birth and death α" in page
    assert "W" not in math


def test_internal_energy(tmp_path):
    page, math = own(tmp_path, internal=PorousMedium(2.0), temperature=0.0)
    assert "free energy F + ∫h(ρ)" in page and "T ∫ρ log ρ" not in page
    assert "P" in math and "∆" in math


def test_noise_may_raise_the_energy(tmp_path):
    noise = GivenNoise(lambda theta: np.ones((len(theta), 1, 1)))
    page, math = own(tmp_path, noise=noise)
    assert "Σ" in math
    assert "must not rise" not in page and "never raises" not in page


def test_circles(tmp_path):
    page, _ = own(
        tmp_path,
        mesh=ddpde.interval(0, 2 * np.pi, cells=12),
        periods=(2 * np.pi,),
        potential=lambda theta: -np.cos(theta[:, 0]),
        initial=ddpde.problems.kuramoto().initial,
    )
    assert "periodic coordinate" in page and "resultant of" in page


def test_signed_measures_are_on_no_surface(tmp_path):
    page, _ = own(
        tmp_path,
        mesh=ddpde.signed(ddpde.interval(-4, 5, cells=12)),
        initial=DensityLaw(2, lambda theta: np.exp(-(theta[:, 0] ** 2)) / np.sqrt(4 * np.pi)),
        potential=lambda theta: theta[:, 1] * theta[:, 0],
    )
    assert "for a signed measure" in page and "θ₂ = ±1" in page and "surface" not in page


def test_a_mass_that_changes_has_no_drift(tmp_path):
    page, _ = own(tmp_path, mass=2.0, birth_death=0.5, conserved=False)
    assert "drift of the mass" not in page


def test_a_mass_other_than_one_is_conserved(tmp_path):
    page, _ = own(tmp_path, mass=2.0)
    drift = re.search(r"Largest drift of the mass</dt>\s*<dd>([^<]*)", page)
    assert drift and ("0" == drift[1] or "10⁻" in drift[1])


def test_the_slope_of_a_networks_loss_is_in_its_potential(tmp_path):
    """… and not that of the free energy, where birth and death shows it as well."""
    content = folder_of.read(report_folders.run_only(tmp_path))
    content.run["terms"] |= {"birth_death": 1.0, "temperature": 0.1}
    (potential,) = [e for e in equations.equations(content) if "feels" in e.words]
    assert "𝔼" in potential.math and "log" not in potential.math


def test_parameters_that_json_has_no_word_for(tmp_path):
    given = {"centres": np.arange(2.0), "width": np.float32(0.5), "kind": GivenNoise}
    problem = replace(ddpde.problems.ornstein_uhlenbeck(), parameters=given)
    folder = report_folders.plain(tmp_path, problem, ddpde.box([-4, -4], [6, 6], cells=[8, 8]))
    assert folder_of.read(folder).case["parameters"]["centres"] == [0.0, 1.0]


def test_folders_of_earlier_versions_are_refused(tmp_path):
    report_folders.run_only(tmp_path)
    text = (tmp_path / "run.json").read_text()
    (tmp_path / "run.json").write_text(text.replace('"terms"', '"others"'))
    with pytest.raises(DdpdeError, match="earlier version"):
        report.write(tmp_path)
