"""The equations of a problem as MathML, with the terms that it has and no others."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ddpde.problem.problem import constant
from ddpde.report.folder import Content

_TOKEN = re.compile(r"(?:[^\W\d_]\u0304?)+′?|[\d.]+|\S")
_ACCENTS = {"′": ("msup", "′"), "\u0304": ("mover", "¯")}
_UPRIGHT = {"log", "exp"}
_OPERATORS = set("=+−∂∇∆∫·(){}[]|,;→≈∼←√")


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


def _display(text: str) -> str:
    return f'<math display="block"><mrow>{m(text)}</mrow></math>'


_LOSS = {
    "Squared": ("ℓ(f, y) = (y − f)^2", "2 (f_ρ(x) − y)", "2 (f_N(x_k) − y_k)"),
    "Logistic": (
        "ℓ(f, y) = log(1 + e^⟨−y f⟩)",
        "⅟⟨−y⟩⟨1 + e^⟨y f_ρ(x)⟩⟩",
        "⅟⟨−y_k⟩⟨1 + e^⟨y_k f_N(x_k)⟩⟩",
    ),
}


def equations(content: Content) -> list[Equation]:
    """Network, energy, potential, PDE, and, where particles were trained, their recursion."""
    case = content.case
    ridge, temperature = case.get("ridge"), case.get("temperature")
    radial = (case.get("reduction") or _reduction(content)) == "Radial"
    fallback = ("", "∂_f ℓ(f_ρ(x), y)", "∂_f ℓ(f_N(x_k), y_k)")
    loss, slope, slope_n = _LOSS.get(str(case.get("loss")), fallback)
    xi = "" if content.problem is not None and content.problem.schedule is constant else "ξ(t) "
    out = [
        Equation(
            _display("f_N(x) = ⅟1N ∑_⟨i=1⟩^N σ(x; θ_i) ‖ f_ρ(x) = ∫ σ(x; θ) ρ(d θ)"),
            "A network of N units, and of infinite width: there the law ρ of one unit’s parameters "
            "θ replaces the list of units.",
        )
    ]
    energy = "F[ρ] = 𝔼 ℓ(f_ρ(x), y)"
    potential = f"F′[ρ](θ) = 𝔼⟦{slope} σ(x; θ)⟧"
    if ridge is None or ridge:
        energy += " + λ ∫ |θ|^2 ρ(d θ)"
        potential += " + λ |θ|^2"
    if loss:
        energy += f" ‖ {loss}"
    out.append(Equation(_display(energy), "The energy of a law, and the loss."))
    out.append(
        Equation(_display(potential), "The first variation of the energy: what a unit at θ feels.")
    )
    out.append(_flow(radial, temperature, xi))
    if content.comparison is not None and content.summary is not None:
        out.append(_recursion(content, slope_n, bool(ridge), bool(temperature)))
    return out


def _reduction(content: Content) -> str | None:
    reduction = content.problem.reduction if content.problem is not None else None
    return type(reduction).__name__ if reduction is not None else None


def _flow(radial: bool, temperature: float | None, xi: str) -> Equation:
    if radial:
        return Equation(
            _display(f"∂_t ρ̄ = {xi}∂_r (ρ̄ ∂_r F′[ρ̄](r))"),
            "The distributional dynamics. Every law here is rotation invariant, so the unknown is "
            "the law ρ̄ of r = |w|, a probability on the half line: no power of r multiplies it. "
            "F′ is the average of the above over the sphere |w| = r.",
        )
    noisy = temperature is None or temperature > 0
    right = "∇·(ρ ∇F′[ρ])" + (" + T ∆ρ" if noisy else "")
    right = f"{xi}{{{right}}}" if xi and noisy else f"{xi}{right}"
    words = "The distributional dynamics, without flux through the boundary of the mesh."
    if temperature == 0:
        words += " Training is noiseless, so there is no diffusion."
    return Equation(_display(f"∂_t ρ = {right}"), words)


def _recursion(content: Content, slope: str, ridge: bool, noisy: bool) -> Equation:
    assert content.summary is not None
    plan = content.summary["case"]["particles"]
    inner = f"{slope} ∇_θ σ(x_k; θ_i)"
    if ridge:
        inner += " + 2 λ θ_i"
    text = f"θ_i ← θ_i − ε {{{inner}}}"
    if noisy:
        text += " + √⟨2 T ε⟩ g_i"
    words = "One step of the networks’ training, i = 1, …, N, at time t = kε"
    if plan["batch"] > 1:
        words += f", and the term with the loss is averaged over {plan['batch']} samples"
    words += ", gᵢ independent standard normals." if noisy else "."
    return Equation(_display(text), words)
