"""Pages of validations that failed, or that lack a piece: said, without a hole."""

import re

import pytest
import report_folders
from report_pages import edit, page_of

from ddpde import report
from ddpde.errors import DdpdeError


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
