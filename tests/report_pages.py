"""The page of a folder, read and checked; folders spoilt for the purpose."""

import json
import re
from html.parser import HTMLParser

from ddpde import report

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


def edit(folder, change, name="summary.json"):
    """Apply `change` to a JSON file of the folder."""
    content = json.loads((folder / name).read_text())
    change(content)
    (folder / name).write_text(json.dumps(content))
    return folder
