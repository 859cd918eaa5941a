"""The equations of a problem as MathML, with the terms that it has and no others."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ddpde.report.folder import Content
from ddpde.report.mathml import Equation, display
from ddpde.report.numerals import listed
from ddpde.report.systems import system_equations

_LOSS = {
    "Squared": ("ℓ(f, y) = (y − f)^2", "2 (f_ρ(x) − y)", "2 (f_N(x_k) − y_k)"),
    "HalfSquared": ("ℓ(f, y) = ⅟⟨1⟩⟨2⟩ (y − f)^2", "(f_ρ(x) − y)", "(f_N(x_k) − y_k)"),
    "Logistic": (
        "ℓ(f, y) = log(1 + e^⟨−y f⟩)",
        "⅟⟨−y⟩⟨1 + e^⟨y f_ρ(x)⟩⟩",
        "⅟⟨−y_k⟩⟨1 + e^⟨y_k f_N(x_k)⟩⟩",
    ),
}


@dataclass(frozen=True)
class Terms:
    """What the energy and the flow of a problem are made of."""

    network: bool
    potential: bool
    interaction: bool
    ridge: bool
    temperature: bool
    internal: bool
    noise: bool
    birth_death: bool
    conserved: bool
    schedule: bool


def terms_of(content: Content) -> Terms:
    """As the run has recorded them."""
    recorded = content.run["terms"]
    return Terms(**{field.name: bool(recorded[field.name]) for field in fields(Terms)})


def equations(content: Content) -> list[Equation]:
    """Network, energy, potential, PDE, and, where there are particles, what they do."""
    terms = terms_of(content)
    radial = content.case["reduction"] == "Radial"
    fallback = ("", "∂_f ℓ(f_ρ(x), y)", "∂_f ℓ(f_N(x_k), y_k)")
    loss, slope, slope_n = _LOSS.get(str(content.case.get("loss")), fallback)
    out = []
    if terms.network:
        network = "f_N(x) = ⅟1N ∑_⟨i=1⟩^N σ(x; θ_i) ‖ f_ρ(x) = ∫ σ(x; θ) ρ(d θ)"
        words = (
            "A network of N units, and of infinite width: there the law ρ of one unit’s parameters "
            "θ replaces the list of units."
        )
        out.append(Equation(display(network), words))
    out.append(_energy(content, terms, loss))
    if terms.internal or (terms.temperature and (terms.birth_death or not terms.network)):
        whole = _sum(
            (True, "F[ρ]"),
            (terms.temperature, "T ∫ ρ log ρ d θ"),
            (terms.internal, "∫ h(ρ) d θ"),
        )
        first = _sum((True, "F′[ρ]"), (terms.temperature, "T log ρ"), (terms.internal, "h′(ρ)"))
        free = f"F_T[ρ] = {whole} ‖ F_T^′[ρ] = {first}"
        never = "" if terms.noise else ", which the flow never raises,"
        words = f"The free energy{never} and its first variation."
        if terms.internal:
            words += " h is the density of the internal energy."
        out.append(Equation(display(free), words))
    potential = _sum(
        (terms.network, f"𝔼⟦{slope} σ(x; θ)⟧"),
        (terms.potential, "V(θ)"),
        (terms.interaction, "∫ W(θ, θ′) ρ(d θ′)"),
        (terms.ridge, "λ |θ|^2"),
    )
    feels = "a unit" if terms.network else "a particle"
    words = f"The first variation of the energy: what {feels} at θ feels."
    out.append(Equation(display(f"F′[ρ](θ) = {potential}"), words))
    out.append(_flow(content, terms, radial))
    if content.comparison is not None and content.summary is not None:
        out += system_equations(content.case["particles"], terms, slope_n)
    return out


def _sum(*terms: tuple[bool, str]) -> str:
    return " + ".join(text for there, text in terms if there) or "0"


def _energy(content: Content, terms: Terms, loss: str) -> Equation:
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
    return Equation(display(text), words)


def _flow(content: Content, terms: Terms, radial: bool) -> Equation:
    law = "ρ̄" if radial else "ρ"
    drift = "∂_r (ρ̄ ∂_r F′[ρ̄](r))" if radial else "∇·(ρ ∇F′[ρ])"
    right = drift + " + T ∆ρ" * (terms.temperature and not radial)
    right += " + ∆P(ρ)" * terms.internal
    rate = "ξ(t)" if terms.schedule else "1"
    right += f" + ⅟⟨{rate}⟩⟨2⟩ ∑_⟨i j⟩ ∂_i ∂_j (Σ_⟨i j⟩ ρ)" * terms.noise
    if terms.birth_death:
        slope = "F_T^′" if terms.temperature or terms.internal else "F′"
        mean = f" − ∫ {slope}[{law}] d {law}" * terms.conserved
        right += f" − α {law} (⟨{slope}[{law}]⟩{mean})"
    if terms.schedule:
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
        elif not terms.temperature:
            words += (
                " Training is noiseless, so there is no diffusion."
                if terms.network
                else " There is no noise, hence no diffusion."
            )
    if not terms.conserved:
        words += (
            " The last term is birth and death at the rate α: mass grows where the first "
            "variation is negative, and dies where it is positive."
        )
    elif terms.birth_death:
        words += (
            " The last term is birth and death at the rate α: mass moves to where the first "
            "variation is below its mean, without having to travel there."
        )
    return Equation(display(f"∂_t {law} = {right}"), words)


def _edges(content: Content) -> str:
    """The end of the sentence on the PDE: its boundary, its circles, its surface."""
    circles = [name for name, period in zip(content.labels, content.periods, strict=True) if period]
    if content.signed:
        last = content.labels[-1]
        return (
            f" on two sheets, {last} = ±1: the signed measure is the difference of their densities."
        )
    if content.on_surface:
        return " on a surface, whose gradient, divergence and Laplacian these are."
    if not circles:
        return ", without flux through the boundary of the mesh."
    verb = "is a periodic coordinate" if len(circles) == 1 else "are periodic coordinates"
    ends = f": {listed(circles)} {verb}, the two ends of the mesh being one and the same point"
    if content.closed:
        return f"{ends}; there is no boundary."
    return f"{ends}; there is no flux through the rest of the boundary."
