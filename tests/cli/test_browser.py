"""The report in a real browser, at the widths of a desk and of a phone."""

import shutil

import pytest
import report_folders

from ddpde import report
from ddpde.report.mathml import display

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))),
    None,
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium or chrome on PATH")

WIDTHS = (1280, 390)
EXPECTED = {
    "gaussians": {"laws": 3, "risk": 2, "gaps": 3, "distances": 3, "budget": 2},
    "digits": {"laws": 3, "risk": 2, "gaps": 2, "distances": 2, "decision": 2, "budget": 2},
    "run_only": {"laws": 6, "film": 0, "risk": 2},
}
PANELS = """() => Object.fromEntries([...document.querySelectorAll('figure')].map(f => [
    f.id.replace('figure-', ''),
    [...f.querySelectorAll('.panels svg')].map(s => {
        const r = s.getBoundingClientRect(); return [r.width, r.height]; })]))"""
CUT = """() => [...document.querySelectorAll('.panels svg')].flatMap(s => {
    const box = s.getBoundingClientRect();
    return [...s.querySelectorAll('text')].filter(t => {
        const r = t.getBoundingClientRect();
        return r.left < box.left - 1 || r.right > box.right + 1 ||
               r.top < box.top - 1 || r.bottom > box.bottom + 1;
    }).map(t => t.textContent + ' in ' + s.getAttribute('aria-label').slice(0, 60)); })"""
SMALLEST = """() => Math.min(...[...document.querySelectorAll('.panels svg')].flatMap(s => {
    const scale = s.getBoundingClientRect().width / s.viewBox.baseVal.width;
    return [...s.querySelectorAll('text')].map(
        t => scale * parseFloat(getComputedStyle(t).fontSize)); }))"""
OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
SPILT = """() => [...document.querySelectorAll('main *')].filter(e => {
    if (e.closest('.scroll, svg')) return false;
    return e.getBoundingClientRect().right > document.documentElement.clientWidth + 1;
    }).map(e => e.tagName + ' ' + e.textContent.slice(0, 40))"""

# of each equation: beyond the window's edge its box, its own end, its end once it is scrolled to
BEYOND = """() => [...document.querySelectorAll('.math')].map(box => {
    const edge = document.documentElement.clientWidth, end = box.firstElementChild;
    const out = [box, end].map(e => e.getBoundingClientRect().right > edge + 1);
    box.scrollLeft = 1e6;
    return [...out, end.getBoundingClientRect().right > edge + 1]; })"""


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # the sandbox needs rights that root in a container has not
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module", params=EXPECTED)
def written(request, tmp_path_factory):
    """A report, and the panels expected of each of its figures."""
    folder = getattr(report_folders, request.param)(tmp_path_factory.mktemp("report") / "out")
    return report.write(folder), EXPECTED[request.param]


@pytest.mark.parametrize("width", WIDTHS)
def test_report_in_a_browser(browser, written, width):
    path, expected = written
    said, asked = [], []
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.resolve().as_uri())

    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [path.resolve().as_uri()]
    panels = page.evaluate(PANELS)
    assert {name: len(sizes) for name, sizes in panels.items()} == expected
    assert all(w > 200 and h > 150 for sizes in panels.values() for w, h in sizes)
    assert page.evaluate(OVERFLOW) <= 0
    assert page.evaluate(SPILT) == []
    assert page.evaluate(CUT) == []
    assert page.evaluate(SMALLEST) >= 9.0
    # MathML is laid out, not shown as a run of letters
    assert page.locator("math").first.bounding_box()["height"] > 15
    verdict = page.locator("#verdict .badge")
    if "gaps" in expected:
        assert verdict.is_visible() and "Passed" in verdict.inner_text()
        assert verdict.bounding_box()["y"] < 900, "the verdict is on the first screen"
    else:
        assert verdict.count() == 0
    page.close()


def test_equations_stay_in_the_window_of_a_phone(browser, tmp_path):
    path = report.write(report_folders.run_only(tmp_path / "out"))
    page = browser.new_page(viewport={"width": 390, "height": 900})
    page.goto(path.resolve().as_uri())
    boxes = page.locator(".math")
    # the longest of the cases fit: birth and death, and the force on a particle beside its law
    right = "∇·(ρ ∇F′[ρ]) + T ∆ρ − α ρ (F_T^′[ρ] − ∫ F_T^′[ρ] d ρ)"
    two = "d θ_i = −∇F′[μ_N](θ_i) d t ‖ μ_N = ⅟1N ∑_⟨j=1⟩^N δ_⟨θ_j⟩"
    longer = f"∂_t ρ = ξ(t) {{{right} + ⅟⟨ξ(t)⟩⟨2⟩ ∑_⟨i j⟩ ∂_i ∂_j (Σ_⟨i j⟩ ρ)}}"
    for k, text in enumerate((f"∂_t ρ = {right}", two, longer)):
        boxes.nth(k).evaluate("(box, math) => { box.innerHTML = math; }", display(text))
    assert page.evaluate(OVERFLOW) <= 0
    states = page.evaluate(BEYOND)
    assert all(not box and not end for box, _, end in states)  # the end can be scrolled to
    assert [cut for _, cut, _ in states[:3]] == [False, False, True]
    page.close()


VISIBLE = """() => [...document.querySelectorAll("#figure-film .frame")].flatMap(
    (frame, i) => getComputedStyle(frame).visibility === "visible" ? [i] : [])"""


def test_film_shows_one_frame_at_a_time(browser, tmp_path):
    path = report.write(report_folders.run_only(tmp_path / "out"))
    page = browser.new_page(viewport={"width": 900, "height": 900})
    page.goto(path.resolve().as_uri())
    shown = set()
    for _ in range(12):
        visible = page.evaluate(VISIBLE)  # of all at one moment
        # where one gives way to the next both may be there, and the upper one is opaque
        assert len(visible) <= 1 or (len(visible) == 2 and visible[1] - visible[0] in (1, 5))
        shown |= set(visible)
        page.wait_for_timeout(150)
    assert len(shown) > 1
    page.emulate_media(media="print")
    assert page.locator("#figure-film .frame").last.is_visible()
    page.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_index_in_a_browser(browser, tmp_path, width):
    folder = report_folders.gaussians(tmp_path / "runs" / "gaussians", reference=None)
    report.write(folder)
    index = report.write_index([folder], tmp_path / "index.html", {"bad": "it diverged"})
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(index.resolve().as_uri())
    assert page.evaluate(OVERFLOW) <= 0
    assert page.evaluate(SPILT) == []
    assert page.locator("#verdict .badge").inner_text().split() == "Failed 1 of 2 failed".split()
    assert [e.split()[0] for e in page.locator(".glance li").all_inner_texts()] == [
        "bad",
        "small_gaussians",
    ]
    page.locator(".entry h2 a").click()
    assert page.url == (folder / "report.html").resolve().as_uri()
    page.close()
