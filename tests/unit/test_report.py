"""The page of a validation or a run: complete, honest, well-formed."""

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import report_folders

import ddpde
from ddpde import report
from ddpde.errors import DdpdeError
from ddpde.particles import SGD, Diffusion, GradientFlow, Langevin
from ddpde.report import equations, numerals
from ddpde.report import folder as folder_of
from ddpde.space import Law

VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """Text, tags and labels of a page; fails where tags are not balanced."""

    def __init__(self, html):
        super().__init__()
        self.html, self.open, self.words, self.tags, self.ids = html, [], [], [], []
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attrs):
        self._note(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self._note(tag, attrs)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    def _note(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append((tag, attrs))
        self.words.append(attrs.get("aria-label", ""))
        if "id" in attrs:
            self.ids.append(attrs["id"])

    @property
    def figures(self):
        return {i.removeprefix("figure-") for i in self.ids if i.startswith("figure-")}


def page_of(folder):
    """The page of a folder, after the checks that every page must pass."""
    path = report.write(folder)
    assert path == folder / "report.html"
    assert path.stat().st_size < 3e6
    page = Page(path.read_text(encoding="utf-8"))
    assert not re.search(r"\b(nan|NaN|None|null|inf|Infinity|undefined)\b", page.text)
    assert len(page.ids) == len(set(page.ids)), "an id occurs twice"
    for tag, attrs in page.tags:
        assert tag not in ("script", "iframe", "object")
        for key in ("src", "href", "xlink:href", "data"):
            assert attrs.get(key, "#").startswith(("#", "data:")), f"{tag} loads {attrs[key]}"
        if tag == "svg":
            assert attrs.get("aria-hidden") == "true" or attrs["aria-label"]
    used = re.findall(r'(?:url\(|href=")#([^)"]+)', page.html)
    assert set(used) <= set(page.ids)
    return page


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A full validation on a line."""
    return report_folders.gaussians(tmp_path_factory.mktemp("gaussians"))


@pytest.fixture(scope="module")
def planar(tmp_path_factory):
    """A full validation on real data."""
    return report_folders.digits(tmp_path_factory.mktemp("digits"))


@pytest.fixture
def folder(made, tmp_path):
    """A copy of the validation on a line, to be spoilt."""
    return shutil.copytree(made, tmp_path / "copy")


def edit(folder, change, name="summary.json"):
    """Apply `change` to a JSON file of the folder."""
    content = json.loads((folder / name).read_text())
    change(content)
    (folder / name).write_text(json.dumps(content))
    return folder


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
    page = page_of(report_folders.run_only(tmp_path / "run"))
    assert page.figures == {"laws", "film", "risk"}
    assert "Passed" not in page.text and "Failed" not in page.text
    assert "r = |w|" in page.text


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


def test_failed_checks_come_first_and_are_called_so(folder):
    def fail(summary):
        summary["verdict"]["checks"][-1] |= {"passed": False, "value": 7.5}
        summary["verdict"]["passed"] = False

    page = page_of(edit(folder, fail))
    assert "Failed" in page.text and "1 of 12 checks failed" in page.text
    rows = re.findall(r'<tr class="(passed|failed)">', page.html)
    assert rows == ["failed"] + ["passed"] * 11
    first = page.html.index('<tr class="failed">')
    assert "risk gap of independent neurons" in page.html[first : first + 700]


def test_a_check_without_a_number_fails_visibly(folder):
    def lose(summary):
        summary["verdict"]["checks"][0] |= {"passed": False, "value": None}

    assert "FAIL" in page_of(edit(folder, lose)).text


def without_particles(folder):
    (folder / "arrays.npz").unlink()

    def drop(summary):
        summary["particles"] = summary["comparison"] = summary["case"]["particles"] = None

    edit(folder, drop)
    return {"laws", "risk", "budget"}


def without_second_method(folder):
    edit(folder, lambda summary: summary.update(cross_check=None))
    return {"laws", "risk", "gaps", "distances", "budget"}


def without_reference(folder):
    edit(folder, lambda summary: summary.update(reference=None))
    return {"laws", "risk", "gaps", "distances", "budget"}


def without_errors(folder):
    def drop(summary):
        for errors in (summary["errors"], summary["comparison"]["errors"]):
            errors.update({name: [None] * 4 for name in errors})

    edit(folder, drop)
    return {"laws", "risk", "gaps", "distances"}


def without_arrays(folder):
    (folder / "arrays.npz").unlink()
    return {"laws", "risk", "gaps", "distances", "budget"}


def of_one_width(folder):
    def drop(summary):
        comparison = summary["comparison"]
        for key in ("widths", "gap", "gap_half", "w1", "w1_half", "floor", "floor_high"):
            comparison[key] = comparison[key][:1]
        for rate in (*comparison["rate"], *comparison["w1_rate"]):
            rate.update(slope=None, low=None, high=None)
        summary["particles"]["risk"] = summary["particles"]["risk"][:1]

    edit(folder, drop)
    return {"laws", "risk", "distances", "budget"}


def of_a_users_problem(folder):
    edit(folder, lambda run: run.update(problem="my_own", parameters={}), "run.json")
    edit(folder, lambda s: s["case"].update(problem="my_own", parameters={"a": [1, None]}))
    return {"laws", "risk", "gaps", "distances", "budget"}


@pytest.mark.parametrize(
    "spoil",
    [
        without_particles,
        without_second_method,
        without_reference,
        without_errors,
        without_arrays,
        of_one_width,
        of_a_users_problem,
    ],
)
def test_missing_pieces_leave_no_hole(folder, spoil):
    figures = spoil(folder)
    page = page_of(folder)
    assert page.figures == figures
    numbers = [int(n) for n in re.findall(r"<b>(?:Figure|Table) (\d+)\.", page.html)]
    assert numbers[: len(figures)] == list(range(1, len(figures) + 1))
    assert not re.search(r"<t[dh][^>]*></t[dh]>(?!<th)", page.html.split('id="tables"')[1])


def test_a_law_that_is_a_point_has_its_place_in_the_index(folder):
    """Independent draws of it have no distance: no ratio to that."""

    def condense(summary):
        comparison = summary["comparison"]
        comparison["floor"][-1][-1] = comparison["floor_high"][-1][-1] = 0.0

    edit(folder, condense)
    page_of(folder)
    page = report.write_index([folder], folder / "index.html").read_text(encoding="utf-8")
    assert "its floor being 0" in page and "over its floor" not in page


def test_gaps_below_their_noise_are_called_not_resolved(folder):
    def drown(summary):
        summary["comparison"]["deterministic"] = [10.0] * 4

    page = page_of(edit(folder, drown))
    assert "9 of 9 gaps are smaller than their own noise" in page.text
    assert "fitted power of N" not in page.text
    assert page.html.count(">slope not resolved<") == 3  # three panels of three widths


def test_what_is_missing_is_named(tmp_path, folder):
    with pytest.raises(DdpdeError, match="no folder"):
        report.write(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    lacking = r"run\.json, history\.jsonl, outputs\.jsonl, laws missing"
    with pytest.raises(DdpdeError, match=lacking):
        report.write(tmp_path / "empty")
    (folder / "summary.json").write_text("{")
    with pytest.raises(DdpdeError, match=r"summary\.json is unreadable"):
        report.write(folder)


def test_a_folder_of_two_runs_is_refused(folder):
    (folder / "laws" / "0003.npz").unlink()
    with pytest.raises(DdpdeError, match="mixes two runs"):
        report.write(folder)


def test_half_a_line_of_a_killed_run_is_left_out(tmp_path):
    folder = report_folders.run_only(tmp_path / "run")
    with (folder / "history.jsonl").open("a") as file:
        file.write('{"t": 0.7, "ri')
    page_of(folder)


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (1.0706, 0.0012, "1.0706 ± 0.0012"),
        (0.69969, 0.0161, "0.700 ± 0.016"),
        (1.23e-4, 4.5e-5, "(1.23 ± 0.45) × 10⁻⁴"),
        (-0.00001, 0.007, "0.0000 ± 0.0070"),
        (2.0, 0.0996, "2.00 ± 0.10"),
        (0.395327685, 2e-9, "0.3953276850 ± 2.0 × 10⁻⁹"),
        (1.5, None, "1.50000"),
        (None, 0.1, "—"),
        (np.nan, 0.1, "—"),
    ],
)
def test_digits_follow_the_error(value, error, text):
    assert numerals.pm(value, error) == text.replace(" ", "\u00a0")


def test_numbers_in_words():
    text = numerals.proper("at t = 0.1: gap +3.29e-05 ± 7.2e-3, from -4 to 2018-05")
    assert text == "at t = 0.1: gap +3.29 × 10⁻⁵ ± 0.0072, from −4 to 2018-05".replace(
        " × ", "\u00a0×\u00a0"
    )
    assert numerals.sig(9.996e-5, 3) == "1.00\u00a0×\u00a010⁻⁴"
    assert numerals.sig(-5e-324) == "0"
    assert numerals.short(-0.0) == "0" and numerals.short(1e-6) == "10⁻⁶"
