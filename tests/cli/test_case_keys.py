"""docs/cases.md has every key of a case file, with its default."""

import dataclasses
import json
import re

import pytest
from case_files import ROOT

from ddpde.config import keys
from ddpde.run import SolverOptions
from ddpde.validate import Acceptance, ParticlePlan


def rows(section: str) -> dict[str, list[str]]:
    """The table under a heading of docs/cases.md: keys to the other columns."""
    text = (ROOT / "docs" / "cases.md").read_text(encoding="utf-8")
    part = re.split(r"^## ", text.partition(f"## {section}\n")[2], flags=re.M)[0]
    found = {}
    for line in part.splitlines():
        if line.startswith("| `"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            found |= {name: cells[1:] for name in re.findall(r"`(\w+)`", cells[0])}
    return found


@pytest.mark.parametrize("name", keys.SECTIONS)
def test_docs_have_every_key(name):
    documented = rows(f"[{name}]")
    if name == "acceptance":
        reference = set(keys.ReferenceFile.model_fields)
        assert reference <= set(documented)
        documented = {k: v for k, v in documented.items() if k not in reference}
    assert set(documented) == set(keys.SECTIONS[name].model_fields)


def test_docs_have_every_table():
    assert set(rows("The file")) == set(keys.CaseSection.model_fields)
    assert set(keys.SECTIONS) | {"title", "name"} == set(keys.CaseSection.model_fields)


@pytest.mark.parametrize(
    ("section", "target", "also"),
    [
        ("solver", SolverOptions, {"times", "t_end"}),
        (
            "particles",
            ParticlePlan,
            {"gamma", "alpha", "beta", "sampling", "noise", "scale", "bandwidth"},
        ),
        ("acceptance", Acceptance, {"reference"}),
    ],
)
def test_keys_are_the_fields_they_end_in(section, target, also):
    """… and the defaults in the documentation are theirs."""
    fields = {field.name: field for field in dataclasses.fields(target)}
    assert set(keys.SECTIONS[section].model_fields) == set(fields) | also
    for name, field in fields.items():
        default = rows(f"[{section}]")[name][1]
        if field.default is dataclasses.MISSING:
            assert default.startswith("required")
        elif field.default is None:
            assert default == "none"
        else:
            assert json.loads(default.strip("`")) == field.default
