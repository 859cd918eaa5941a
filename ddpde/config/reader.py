"""The reader of one case file, which collects mistakes instead of stopping at the first."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from ddpde.config.keys import SECTIONS, Section, Table
from ddpde.config.words import key, nearest, says

S = TypeVar("S", bound=Section)


class Reader:
    """`folder` is the case file's; `problems` has a line for each mistake, with its key path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problems: list[str] = []

    def say(self, path: str, what: str) -> None:
        """One more mistake."""
        self.problems.append(f"{path}: {what}")

    def clean(self, value: Any, path: str) -> Any:
        """`value` as JSON knows it; what has no place in a case file becomes None."""
        if isinstance(value, dict):
            return {k: self.clean(v, key(path, k)) for k, v in value.items()}
        if isinstance(value, list):
            return [self.clean(v, key(path, j)) for j, v in enumerate(value)]
        if isinstance(value, float) and not math.isfinite(value):
            self.say(path, f"{value} is not a finite number")
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            self.say(path, "the integer does not fit into 64 bits")
        elif not isinstance(value, (str, int, float)):
            self.say(path, f"{value} is not a number, string, boolean, list or table")
        else:
            return value
        return None

    def read(self, model: type[S], table: Table | None, path: str) -> S:
        """The keys of a cleaned table that are right; the others are reported."""
        table = table or {}
        # by way of JSON, where strict models take a list for a tuple
        try:
            return model.model_validate_json(json.dumps(table))
        except ValidationError as error:
            mistakes = error.errors()
        deep = {mistake["loc"][0] for mistake in mistakes if len(mistake["loc"]) > 1}
        for mistake in mistakes:
            name = str(mistake["loc"][0])
            if mistake["type"] == "extra_forbidden":
                self.say(key(path, name), _unknown(name, path, model))
            elif mistake["type"] == "too_short" and mistake["loc"][0] in deep:
                continue  # pydantic does not count entries that are wrong themselves
            elif mistake["input"] is not None:  # None was reported when it was cleaned
                self.say(key(path, *mistake["loc"]), says(mistake))
        bad = {mistake["loc"][0] for mistake in mistakes}
        right = {k: v for k, v in table.items() if k not in bad}
        return model.model_validate_json(json.dumps(right))

    def need(self, table: Table, path: str, *keys: str) -> None:
        """Report the keys that are not there."""
        for name in keys:
            if name not in table:
                self.say(key(path, name), "missing")

    def increasing(self, values: Sequence[float] | None, path: str) -> bool:
        """Whether each entry exceeds the one before; reports those that do not."""
        values = values or ()
        wrong = [j for j in range(1, len(values)) if not values[j] > values[j - 1]]
        for j in wrong:
            self.say(key(path, j), f"{values[j]} is not > {values[j - 1]}, the entry before it")
        return not wrong


def _unknown(name: str, path: str, model: type[Section]) -> str:
    homes = [s for s, other in SECTIONS.items() if name in other.model_fields and s != path]
    if homes:
        return f"does not belong here but in [{homes[0]}]"
    accepted = nearest(name, model.model_fields)
    own = "; what is the problem's own goes in [problem.parameters]" if path == "problem" else ""
    return f"unknown key{accepted}{own}"
