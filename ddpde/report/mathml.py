"""Short formulas as MathML, which a browser sets without anything loaded."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TOKEN = re.compile(r"(?:[^\W\d_]\u0304?)+′?|[\d.]+|\S")
_ACCENTS = {"′": ("msup", "′"), "\u0304": ("mover", "¯")}
_UPRIGHT = {"log", "exp"}
_OPERATORS = set("=+−∂∇∆∫∬′·(){}[]|,;→≈∼←√")


@dataclass(frozen=True)
class Equation:
    """`math` is MathML, `words` what it says."""

    math: str
    words: str


def m(text: str) -> str:
    """MathML of a short formula: a_b, a^b, √a and ⅟ab (a over b), each with a token or ⟨a row⟩.

    A run of letters is one name; spaces separate and do not show.
    """
    out, _ = _row(_TOKEN.findall(text), stop=None)
    return out


def _row(tokens: list[str], stop: str | None) -> tuple[str, list[str]]:
    items: list[str] = []
    while tokens:
        head, *tokens = tokens
        if head == stop:
            return "".join(items), tokens
        if head in "_^" and items:
            script, tokens = _atom(tokens)
            base = items.pop()
            kind = "msub" if head == "_" else "msup"
            if kind == "msup" and base.startswith("<msub>"):
                base, kind = base[6:-7], "msubsup"
            items.append(f"<{kind}>{base}{script}</{kind}>")
        else:
            item, tokens = _atom([head, *tokens])
            items.append(item)
    return "".join(items), tokens


def _atom(tokens: list[str]) -> tuple[str, list[str]]:
    head, *tokens = tokens
    if head == "⟨":
        inner, tokens = _row(tokens, "⟩")
        return f"<mrow>{inner}</mrow>", tokens
    if head == "√":
        inner, tokens = _atom(tokens)
        return f"<msqrt>{inner}</msqrt>", tokens
    if head == "⅟":  # ⅟ ⟨a⟩ ⟨b⟩ is a over b
        above, tokens = _atom(tokens)
        below, tokens = _atom(tokens)
        return f"<mfrac>{above}{below}</mfrac>", tokens
    if head[0].isdigit():
        return f"<mn>{head}</mn>", tokens
    if head in _UPRIGHT:
        return f"<mi>{head}</mi><mo>&#x2061;</mo>", tokens
    if head == "d":
        return '<mi mathvariant="normal">d</mi>', tokens
    if head == "‖":
        return '<mspace width="1.6em"/>', tokens
    if head == "𝔼":
        return '<mi>𝔼</mi><mspace width="0.17em"/>', tokens
    if head == "∑":
        return '<mo movablelimits="false">∑</mo>', tokens
    if len(head) == 2 and head[1] in _ACCENTS:
        kind, mark = _ACCENTS[head[1]]
        return f"<{kind}><mi>{head[0]}</mi><mo>{mark}</mo></{kind}>", tokens
    if head in "∂∇∆":
        return f'<mo form="prefix" lspace="0.12em" rspace="0">{head}</mo>', tokens
    if head in "|":
        return f'<mo stretchy="false" lspace="0" rspace="0">{head}</mo>', tokens
    if head in "⟦⟧":  # brackets that grow around a fraction
        return f"<mo>{'[' if head == '⟦' else ']'}</mo>", tokens
    if head in "(){}[]":
        return f'<mo stretchy="false">{head}</mo>', tokens
    if head in _OPERATORS:
        return f"<mo>{head}</mo>", tokens
    return f"<mi>{head}</mi>", tokens


def display(text: str) -> str:
    """A formula on a line of its own."""
    return f'<math display="block"><mrow>{m(text)}</mrow></math>'
