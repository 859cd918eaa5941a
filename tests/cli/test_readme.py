"""README's guide does what it says: its blocks are run, what they print is compared."""

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# For people at a fresh machine; what they name is checked, they are not run.
INSTALLING = ("Two commands", "Installing")
# `ddpde init` gives a case that takes a minute: a coarser one takes its place before it is run.
SMALLER = {
    "cells = [192]": "cells = [96]",
    "rtol = 1e-7": "rtol = 1e-5",
    "times = [0.1, 0.25, 0.5, 1.0, 2.0, 5.0]": "times = [0.1, 0.5]",
    "widths = [100, 200, 400, 800]": "widths = [50, 100]",
    "replicas = 32": "replicas = 16",
    "step_size = 1e-4": "step_size = 5e-4",
}


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the file it is, if the line before says so."""

    language: str
    text: str
    file: str | None


def sections():
    """Fenced blocks of each section, in the README's order."""
    found = {}
    for section in re.split(r"(?m)^## ", README)[1:]:
        fences = re.finditer(r"(?ms)(?:^`([\w.]+)`:\n\n)?^```(\w*)\n(.*?)^```$", section)
        blocks = [Block(fence[2], fence[3], fence[1]) for fence in fences]
        if blocks:
            found[section.partition("\n")[0]] = blocks
    return found


SECTIONS = sections()
GUIDE = [name for name in SECTIONS if name not in INSTALLING]


class Reader:
    """Someone who does what the README says, in a folder of their own."""

    def __init__(self, folder):
        self.folder = folder
        commands = folder.parent / f"{folder.name}_commands"
        commands.mkdir()
        command = commands / "ddpde"
        command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m ddpde "$@"\n')
        command.chmod(0o755)
        path = [str(commands), str(Path(sys.executable).parent), os.environ["PATH"]]
        self.environment = os.environ | {
            "PATH": os.pathsep.join(path),
            "PYTHONPATH": str(ROOT),
            "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        }

    def follow(self, block):
        if block.file:
            (self.folder / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            (self.folder / "example.py").write_text(block.text, encoding="utf-8")
            printed = self.run(sys.executable, "example.py").splitlines()
            # the value that the comment beside a print() gives, up to a colon
            quoted = re.findall(r"(?m)^print\(.*\)  # ([^:\n]*)", block.text)
            assert printed == quoted
        elif block.language == "sh":
            for line in block.text.splitlines():
                self.run(*shlex.split(line, comments=True))
                self.make_smaller()
        else:
            pytest.fail(f"a block of {block.language!r}, and no file name before it")

    def run(self, *command):
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            text=True,
            capture_output=True,
            timeout=280,
            check=False,
        )
        assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def make_smaller(self):
        case = self.folder / "first" / "case.toml"
        if case.exists() and "widths = [100, " in case.read_text():
            text = case.read_text()
            for old, new in SMALLER.items():
                assert old in text, old
                text = text.replace(old, new)
            case.write_text(text)


@pytest.fixture
def reader(tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    return Reader(folder)


def test_the_guide_is_there():
    languages = {name: [block.language for block in SECTIONS[name]] for name in GUIDE}
    assert languages == {
        "A first example": ["python", "python", "python"],
        "The command line": ["sh", "sh"],
        "Your own problem": ["python", "toml", "sh", "python"],
    }


@pytest.mark.parametrize("section", [name for name in GUIDE if name != "The command line"])
def test_examples(section, reader):
    for block in SECTIONS[section]:
        reader.follow(block)
    if section == "Your own problem":
        quoted = re.search(r"falls from ([\d.]+) at t = 0 to ([\d.]+) at t = 20", README)
        rows = (reader.folder / "pde/history.jsonl").read_text().splitlines()
        risks = [json.loads(rows[i])["risk"] for i in (0, -1)]
        assert [f"{risk:.4f}" for risk in risks] == list(quoted.groups())
        assert json.loads((reader.folder / "bumps/verdict.json").read_text())["passed"]
        assert (reader.folder / "bumps/report.html").stat().st_size > 10_000


def test_commands(reader):
    alone, on_ranks = SECTIONS["The command line"]
    reader.follow(alone)
    results = {file.name for file in (reader.folder / "runs/first").iterdir()}
    words = README.split("## The command line")[1].split("\n## ")[0]
    named = re.findall(r"`([\w/*.]+\.(?:jsonl?|npz|html))`", words)
    assert len(named) == 7
    assert {name.partition("/")[0] for name in named} <= results
    if shutil.which("mpirun", path=reader.environment["PATH"]):
        reader.follow(on_ranks)
        assert json.loads((reader.folder / "runs/first/run.json").read_text())["ranks"] == 2


def test_installing_names_what_is_there():
    """Targets of make, extras of pip, and files."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    targets = set(re.findall(r"(?m)^(\w+):", (ROOT / "Makefile").read_text()))
    lines = [
        shlex.split(line, comments=True)
        for name in INSTALLING
        for block in SECTIONS[name]
        for line in block.text.splitlines()
    ]
    assert {words[0] for words in lines} == {"make", "pip", "conda"}
    for words in lines:
        if words[0] == "make":
            assert words[1] in targets
        for extras in re.findall(r"\.\[([\w,]+)\]", " ".join(words)):
            assert set(extras.split(",")) <= set(setup["options.extras_require"])
        assert all((ROOT / word).exists() for word in words if word.endswith(".yml"))


def test_links_lead_somewhere():
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    assert {"docs/law.png", "docs/cases.md", "docs/mathematics.md"} <= set(targets)
    for target in targets:
        assert target.startswith("https://") or (ROOT / target).exists(), target
    assert (ROOT / "docs/law.png").stat().st_size < 150_000
