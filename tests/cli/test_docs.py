"""The listings of the documents run, and print what the comments beside them say."""

import re

import pytest
from case_files import ROOT

LISTING = re.compile(r"(?ms)^```python\n(.*?)^```$")
PAGES = [page for page in sorted(ROOT.glob("docs/*.md")) if LISTING.search(page.read_text("utf-8"))]


def test_the_listings_are_there():
    assert {page.name for page in PAGES} >= {
        *("adaptive.md", "fluctuations.md", "particles.md", "stationary.md")
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_listings(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = "".join(LISTING.findall(page.read_text("utf-8")))
    exec(compile(text, page.name, "exec"), {})
    # the value that the comment beside a print() gives, up to a colon
    quoted = [line.strip() for line in re.findall(r"(?m)^print\(.*\)  # ([^:\n]*)", text)]
    assert capsys.readouterr().out.splitlines() == quoted


def test_links_lead_somewhere():
    for page in [
        file
        for folder in ("", "docs/", "meshes/", "validation/**/")
        for file in ROOT.glob(folder + "*.md")
    ]:
        for target in re.findall(r"\]\(([\w./-]+\.\w+)[)#]", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page}: {target}"
