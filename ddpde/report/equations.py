"""The equations of a problem as MathML, with the terms that it has and no others."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ddpde.problem.schedules import constant
from ddpde.report.folder import Content
from ddpde.report.numerals import listed

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


def _display(text: str) -> str:
    return f'<math display="block"><mrow>{m(text)}</mrow></math>'


_LOSS = {
    "Squared": ("ℓ(f, y) = (y − f)^2", "2 (f_ρ(x) − y)", "2 (f_N(x_k) − y_k)"),
    "HalfSquared": ("ℓ(f, y) = ⅟12 (y − f)^2", "(f_ρ(x) − y)", "(f_N(x_k) − y_k)"),
    "Logistic": (
        "ℓ(f, y) = log(1 + e^⟨−y f⟩)",
        "⅟⟨−y⟩⟨1 + e^⟨y f_ρ(x)⟩⟩",
        "⅟⟨−y_k⟩⟨1 + e^⟨y_k f_N(x_k)⟩⟩",
    ),
}


@dataclass(frozen=True)
class _Terms:
    """What the energy and the flow of a problem are made of."""

    network: bool
    potential: bool
    interaction: bool
    ridge: bool
    temperature: bool
    internal: bool
    noise: bool
    birth_death: bool
    schedule: bool
    unnormalised: bool


def _terms(content: Content) -> _Terms:
    """Of a user's own problem, only what the folder shows of it."""
    problem, case = content.problem, content.case
    ridge, temperature = case.get("ridge"), case.get("temperature")
    alone = problem is None and not content.network
    return _Terms(
        network=content.network,
        potential=alone or getattr(problem, "potential", None) is not None,
        interaction=alone or getattr(problem, "interaction", None) is not None,
        ridge=content.network if ridge is None else ridge > 0,
        temperature=temperature is None or temperature > 0,
        internal=problem is not None and problem.internal is not None,
        noise=problem is not None and problem.noise is not None,
        birth_death=problem is not None and problem.birth_death > 0,
        unnormalised=problem is not None and not problem.conserved,
        schedule=problem is None or problem.schedule is not constant,
    )


def equations(content: Content) -> list[Equation]:
    """Network, energy, potential, PDE, and, where particles were trained, their recursion."""
    terms = _terms(content)
    radial = (content.case.get("reduction") or _reduction(content)) == "Radial"
    fallback = ("", "∂_f ℓ(f_ρ(x), y)", "∂_f ℓ(f_N(x_k), y_k)")
    loss, slope, slope_n = _LOSS.get(str(content.case.get("loss")), fallback)
    out = []
    if terms.network:
        network = "f_N(x) = ⅟1N ∑_⟨i=1⟩^N σ(x; θ_i) ‖ f_ρ(x) = ∫ σ(x; θ) ρ(d θ)"
        words = (
            "A network of N units, and of infinite width: there the law ρ of one unit’s parameters "
            "θ replaces the list of units."
        )
        out.append(Equation(_display(network), words))
    out.append(_energy(content, terms, loss))
    if terms.internal or (terms.temperature and (terms.birth_death or not terms.network)):
        whole = _sum(
            (True, "F[ρ]"),
            (terms.temperature, "T ∫ ρ log ρ d θ"),
            (terms.internal, "∫ h(ρ) d θ"),
        )
        slope = _sum((True, "F′[ρ]"), (terms.temperature, "T log ρ"), (terms.internal, "h′(ρ)"))
        free = f"F_T[ρ] = {whole} ‖ F_T^′[ρ] = {slope}"
        words = "The free energy, which the flow never raises, and its first variation."
        if terms.internal:
            words += " h is the density of the internal energy."
        out.append(Equation(_display(free), words))
    potential = _sum(
        (terms.network, f"𝔼⟦{slope} σ(x; θ)⟧"),
        (terms.potential, "V(θ)"),
        (terms.interaction, "∫ W(θ, θ′) ρ(d θ′)"),
        (terms.ridge, "λ |θ|^2"),
    )
    feels = "a unit" if terms.network else "a particle"
    words = f"The first variation of the energy: what {feels} at θ feels."
    out.append(Equation(_display(f"F′[ρ](θ) = {potential}"), words))
    out.append(_flow(content, terms, radial))
    if content.comparison is not None and content.summary is not None:
        noisy = bool(content.case.get("temperature"))
        out.append(_recursion(content, slope_n, bool(content.case.get("ridge")), noisy))
    return out


def _sum(*terms: tuple[bool, str]) -> str:
    return " + ".join(text for there, text in terms if there) or "0"


def _energy(content: Content, terms: _Terms, loss: str) -> Equation:
    text = "F[ρ] = " + _sum(
        (terms.network, "𝔼 ℓ(f_ρ(x), y)"),
        (terms.potential, "∫ V(θ) ρ(d θ)"),
        (terms.interaction, "⅟⟨1⟩⟨2⟩ ∬ W(θ, θ′) ρ(d θ) ρ(d θ′)"),
        (terms.ridge, "λ ∫ |θ|^2 ρ(d θ)"),
    )
    if loss and terms.network:
        text += f" ‖ {loss}"
    named = [
        *["the loss"] * terms.network,
        *["the potential V"] * terms.potential,
        *["the symmetric interaction W"] * terms.interaction,
    ]
    words = "The energy of a law"
    words += f", and {named[0]}." if len(named) == 1 else f": {listed(named)}." if named else "."
    if content.problem is None:
        words += " Terms that the problem may have besides are not recorded in this folder."
        if not terms.network:
            words = "The energy of a law; which of its terms are there is not recorded here."
    return Equation(_display(text), words)


def _reduction(content: Content) -> str | None:
    reduction = content.problem.reduction if content.problem is not None else None
    return type(reduction).__name__ if reduction is not None else None


def _flow(content: Content, terms: _Terms, radial: bool) -> Equation:
    law = "ρ̄" if radial else "ρ"
    drift = "∂_r (ρ̄ ∂_r F′[ρ̄](r))" if radial else "∇·(ρ ∇F′[ρ])"
    right = drift + " + T ∆ρ" * (terms.temperature and not radial)
    right += " + ∆P(ρ)" * terms.internal
    right += " + ⅟⟨ξ(t)⟩⟨2⟩ ∑_⟨ij⟩ ∂_i ∂_j (Σ_ij ρ)" * terms.noise
    if terms.birth_death:
        slope = "F_T^′" if terms.temperature or terms.internal else "F′"
        mean = "" if terms.unnormalised else f" − ∫ {slope}[{law}] d {law}"
        right += f" − α {law} (⟨{slope}[{law}]⟩{mean})"
    if terms.schedule or terms.noise:
        right = f"ξ(t) {{{right}}}" if right != drift else f"ξ(t) {right}"
    if radial:
        words = (
            "The distributional dynamics. Every law here is rotation invariant, so the unknown is "
            "the law ρ̄ of r = |w|, a probability on the half line: no power of r multiplies it. "
            "F′ is the average of the above over the sphere |w| = r."
        )
    else:
        words = "The distributional dynamics" + _edges(content)
        if terms.noise:
            words += " Σ is the covariance of the noise, whose strength depends on the place."
        elif terms.internal:
            words += " P(ρ) = ρ h′(ρ) − h(ρ) is the pressure of the internal energy."
        elif content.case.get("temperature") == 0:
            words += (
                " Training is noiseless, so there is no diffusion."
                if terms.network
                else " There is no noise, hence no diffusion."
            )
    if terms.unnormalised:
        words += (
            " The last term is birth and death at the rate α: mass grows where the first "
            "variation is negative, and dies where it is positive."
        )
    elif terms.birth_death:
        words += (
            " The last term is birth and death at the rate α: mass moves to where the first "
            "variation is below its mean, without having to travel there."
        )
    return Equation(_display(f"∂_t {law} = {right}"), words)


def _edges(content: Content) -> str:
    """The end of the sentence on the PDE: its boundary, its circles, its surface."""
    circles = [name for name, period in zip(content.labels, content.periods, strict=True) if period]
    if content.on_surface:
        return " on a surface, whose gradient, divergence and Laplacian these are."
    if not circles:
        return ", without flux through the boundary of the mesh."
    verb = "is a periodic coordinate" if len(circles) == 1 else "are periodic coordinates"
    ends = f": {listed(circles)} {verb}, the two ends of the mesh being one and the same point"
    if content.closed:
        return f"{ends}; there is no boundary."
    return f"{ends}; there is no flux through the rest of the boundary."


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
