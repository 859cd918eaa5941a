"""What is said of a mistake: where it is, the value, what is accepted."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from typing import Any

from pydantic_core import ErrorDetails

_SAYS = {
    "greater_than": "is not > {gt}",
    "greater_than_equal": "is not >= {ge}",
    "less_than": "is not < {lt}",
    "less_than_equal": "is not <= {le}",
    "int_type": "is not an integer",
    "int_from_float": "is not an integer",
    "float_type": "is not a number",
    "bool_type": "is not true or false",
    "string_type": "is not a string",
    "dict_type": "is not a table",
    "tuple_type": "is not a list",
    "list_type": "is not a list",
    "too_short": "has {actual_length} entries, not {min_length} or more",
    "too_long": "has {actual_length} entries, not {max_length} or fewer",
    "string_pattern_mismatch": "is not a name of letters, digits, '_', '-' and '.'",
}


def key(path: str, *parts: int | str) -> str:
    """`path` extended: solver.times[2]."""
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            plain = part if re.fullmatch(r"[\w-]+", part) else json.dumps(part)
            path = f"{path}.{plain}" if path else plain
    return path


def show(value: Any) -> str:
    """A value as the file has it, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def nearest(word: str, known: Iterable[str]) -> str:
    """'; did you mean "x"? accepted: x, y'."""
    known = list(known)
    near = difflib.get_close_matches(word.lower(), known, n=1)
    hint = f'; did you mean "{near[0]}"?' if near else ";"
    return f"{hint} accepted: {', '.join(known)}"


def says(error: ErrorDetails) -> str:
    """Pydantic's complaint in our words, with the value."""
    context, value = error.get("ctx", {}), show(error["input"])
    if error["type"] == "missing":  # an entry of a list of fixed length
        return "missing"
    if error["type"] == "literal_error":
        names = re.findall(r"'([^']*)'", context["expected"])
        word = error["input"] if isinstance(error["input"], str) else ""
        return f"{value} is unknown{nearest(word, names)}"
    if error["type"] in _SAYS:
        return f"{value} {_SAYS[error['type']].format(**context)}"
    return f"{value}: {error['msg'][:1].lower()}{error['msg'][1:]}"
