"""The page of a validation or a run: complete, honest, well-formed."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import report_folders
from report_pages import page_of

import ddpde
from ddpde.particles import SGD, Diffusion, GradientFlow, Langevin
from ddpde.report import equations
from ddpde.report import folder as folder_of
from ddpde.report.figures import decision
from ddpde.space import Law


def test_validation_on_a_line(made):
    page = page_of(made)
    assert page.figures == {"laws", "risk", "gaps", "distances", "budget"}
    for words in ("Passed", "all 12 checks", "Isotropic Gaussians, small", "N = 80", "SHA-256"):
        assert words in page.text
    assert page.html.count("<math") == 5
    assert "second method" in page.text and "reference" in page.text
    # no temperature, no ridge: neither appears in an equation
    equations = "".join(re.findall(r"<math.*?</math>", page.html, flags=re.S))
    assert "∆" not in equations and "λ" not in equations


@pytest.mark.parametrize(
    ("system", "there", "words"),
    [
        (str(SGD()), "<mo>←</mo>", "averaged over 16 samples"),
        (str(SGD(sampling="full")), "μ", "whole data set or quadrature"),
        (str(SGD(noise="independent")), "<mi>k</mi><mi>i</mi>", "samples of its own"),
        (str(Langevin()), 'mathvariant="normal">d</mi><msub><mi>θ</mi>', "Langevin|gradient flow"),
        (
            str(Langevin(bandwidth=0.2)),
            'mathvariant="normal">d</mi><msub><mi>θ</mi>',
            "gradient flow",
        ),
        (str(Diffusion(scale=0.1)), "Σ", "are independent"),
        (str(Diffusion(scale=0.1, noise="common")), "Σ", "one Brownian sheet"),
        (str(GradientFlow()), "<mfrac>", "order 4 with steps ε"),
        (str(GradientFlow(rtol=1e-6)), "<mfrac>", "relative tolerance 1e-06"),
    ],
)
def test_each_system_has_its_own_equation(made, system, there, words):
    content = folder_of.read(made)
    plan = content.case["particles"] | {"system": system}
    content.summary["case"]["particles"] = plan
    found = equations.equations(content)[-1]
    assert there in found.math and re.search(words, found.words)
    # the gradient on a sample is that of SGD alone
    assert ("<mo>←</mo>" in found.math) == system.startswith("SGD")
    content.run["terms"]["birth_death"] = 2.0
    *_, step, change = equations.equations(content)
    assert "α" in change.math and "doubled" in change.words and "α" not in step.math
    smoothed = "bandwidth=0.2" in system
    assert ("log" in change.math) == smoothed == ("deviation h = 0.2" in change.words)


def test_half_of_a_square_is_a_half(planar):
    content = folder_of.read(planar)
    content.summary["case"]["loss"] = "HalfSquared"
    energy = equations.equations(content)[1].math
    assert "<mfrac><mrow><mn>1</mn></mrow><mrow><mn>2</mn></mrow></mfrac>" in energy


def test_validation_on_real_data(planar):
    page = page_of(planar)
    assert page.figures == {"laws", "risk", "gaps", "distances", "decision", "budget"}
    assert "test error" in page.text and "mean-field limit" in page.text
    assert "—" not in page.text.split("Training and held-out data")[1].split("Table")[0]
    equations = "".join(re.findall(r"<math.*?</math>", page.html, flags=re.S))
    assert "∆" in equations and "λ" in equations
    assert "The decision function" in page.text and "y = +1" in page.text


def test_regressions_predict_and_do_not_decide(planar):
    content = folder_of.read(planar)
    content.arrays["train_y"] = content.arrays["train_y"] * 0.3
    found = decision.figure(content)
    words = found.title + found.caption + "".join(label for _, label in found.legend)
    assert "The prediction" in words and "target above 0" in words and "decision" not in words


def test_fluctuations_predicted_and_measured(tmp_path):
    folder = report_folders.fluctuating(tmp_path / "out")
    summary = json.loads((folder / "summary.json").read_text())
    (check,) = [c for c in summary["verdict"]["checks"] if c["name"] == "fluctuations"]
    assert check["passed"], check
    spread = summary["comparison"]["spread"]
    assert spread["names"] == ["risk", "θ1"]
    # half the prediction would not pass
    ratio = np.array(spread["measured"]) / np.array(spread["predicted"])
    assert 0.7 < np.median(ratio) < 1.4
    page = page_of(folder)
    assert "fluctuations" in page.figures


def test_plain_run(tmp_path):
    folder = report_folders.run_only(tmp_path / "run")
    page = page_of(folder)
    assert page.figures == {"laws", "film", "risk"}
    assert "ddpde.solve(problem, mesh" in page.text and "case.toml" not in page.text
    (folder / "case.used.toml").write_text('title = "Of its own"')
    assert "Of its own" in page_of(folder).text
    assert "ddpde run case.used.toml" in page_of(folder).text
    assert "Passed" not in page.text and "Failed" not in page.text
    assert "r = |w|" in page.text
    repeated = page.text.split("How to repeat it")[1]
    for said in (f"ddpde {ddpde.__version__}", f"numpy {np.__version__}", "UTC", "MPI ranks 1"):
        assert said in repeated


def math_of(page):
    return "".join(re.findall(r"<math.*?</math>", page.html, flags=re.S))


def without_network(page):
    """What no page of a problem without a network may speak of."""
    text = page.text.split("Figure 1")[1]  # the words of the checks above are the verdict's own
    for word in ("risk", "network", "Unit", "Loss", "Training"):
        assert word not in text
    assert "σ" not in math_of(page) and "λ" not in math_of(page)
    assert "its free energy is" in page.text or "; the free energy goes from" in page.text
    return page


def test_interacting_particles_in_the_plane(tmp_path):
    mesh = ddpde.box(lower=(-4, -4), upper=(4, 4), cells=(6, 6))
    problem = ddpde.problems.mckean_vlasov()
    page = without_network(page_of(report_folders.plain(tmp_path, problem, mesh)))
    assert page.figures == {"laws", "energy"}
    assert "mixture: 0.5 of normal" in page.text and "Interaction W" in page.text
    for symbol in "VW∬∆":
        assert symbol in math_of(page)
    assert "α" not in math_of(page)


def test_a_circle_has_no_boundary_and_no_mean(tmp_path):
    mesh = ddpde.interval(0, 2 * np.pi, cells=8)
    problem = replace(ddpde.problems.kuramoto(), birth_death=0.5)
    folder = report_folders.plain(tmp_path, problem, mesh)
    page = without_network(page_of(folder))
    assert "periodic coordinate" in page.text and "of length 2π" in page.text
    assert "resultant of θ₁" in page.text
    assert "mean of θ₁" not in page.text and "rim" not in page.text
    assert "V(" not in page.text


def test_a_mesh_that_changes(tmp_path):
    """Each law has a mesh of its own."""
    mesh = ddpde.box([-1, -1], [2, 2], cells=[3, 3])
    problem = ddpde.problems.ornstein_uhlenbeck(mean=(1.0, 0.5), std=(0.1, 0.2))
    settings = {"rtol": 1e-3, "adapt": 5e-2, "grow": 1e-4}
    folder = report_folders.plain(tmp_path / "run", problem, mesh, **settings)
    laws = [Law.load(file) for file in sorted((folder / "laws").glob("*.npz"))]
    assert len({len(law.values) for law in laws}) > 1
    page = without_network(page_of(folder))
    assert page.figures == {"laws", "energy"}
    assert "on a mesh that changes" in page.text and "follows the law" in page.text
    assert "fixed mesh" not in page.text


def test_birth_and_death_has_its_term(tmp_path):
    content = folder_of.read(report_folders.run_only(tmp_path / "run"))
    assert "α" not in equations.equations(content)[-1].math
    content.run["terms"]["birth_death"] = 2.0
    assert "α" in equations.equations(content)[-1].math


def test_validation_without_a_network(tmp_path):
    page = without_network(page_of(report_folders.well(tmp_path)))
    assert page.figures == {"laws", "energy"}
    assert "Free energy" in page.text and "second method" in page.text


def test_law_on_a_surface_is_seen_from_both_sides(tmp_path):
    folder = report_folders.plain(
        tmp_path,
        ddpde.problems.mckean_vlasov(),
        ddpde.box(lower=(-4, -4), upper=(4, 4), cells=(6, 6)),
    )
    for path in (folder / "laws").glob("*.npz"):  # the plane bent in space
        law = Law.load(path)
        height = 0.1 * (law.geometry**2).sum(axis=2, keepdims=True)
        bent = np.concatenate([law.geometry, height], axis=2)
        replace(law, geometry=bent).save(path)
    run = json.loads((folder / "run.json").read_text())
    run["terms"] |= {"labels": ["θ1", "θ2", "θ3"], "periods": [None] * 3, "dimension": 3}
    (folder / "run.json").write_text(json.dumps(run | {"problem": "my_own", "parameters": {}}))
    page = page_of(folder)
    assert page.figures == {"laws", "energy"}
    assert "on a surface" in page.text and "seen from θ₃ < 0" in page.text
