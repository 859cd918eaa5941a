"""The equations that the particles of a validation followed, each system its own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ddpde.report.mathml import Equation, display
from ddpde.report.numerals import short

if TYPE_CHECKING:
    from ddpde.report.equations import Terms

_CLOUD = "μ_N = ⅟1N ∑_⟨j=1⟩^N δ_⟨θ_j⟩"
_FORCE = "∇F′[μ_N](θ_i)"


def system_equations(plan: dict[str, Any], terms: Terms, slope: str) -> list[Equation]:
    """Of the particles of `plan`, as summary.json has it; nothing for a system not known here.

    slope: ∂_f ℓ at the sample of a step, as MathML's source.
    """
    name, _, rest = str(plan["system"]).partition("(")
    options = dict(re.findall(r"(\w+)='?([^',()]*)", rest))
    if name == "SGD" and options.get("sampling") != "full":
        own = options.get("noise") == "independent"
        out = [_on_samples(plan, terms, slope, own, options.get("sampling") == "reshuffled")]
    elif name in ("SGD", "Langevin"):
        out = [_exact(terms, recursion=name == "SGD")]
    elif name == "Diffusion":
        out = [_diffusion(terms, options)]
    elif name == "GradientFlow":
        out = [_gradient_flow(terms, options.get("rtol", "None"))]
    else:
        return []
    if terms.birth_death:
        out.append(_birth_death(terms, options.get("bandwidth", "None")))
    return out


def _who(terms: Terms) -> str:
    return "networks’ training" if terms.network else "particles"


def _step(terms: Terms) -> str:
    """The name of a step's length."""
    return "s_k" if terms.schedule else "ε"


def _times(terms: Terms) -> str:
    return "i = 1, …, N, at time t = kε" + ", of length sₖ = ε ξ(kε)" * terms.schedule


def _kick(terms: Terms) -> str:
    return f" + √⟨2 T {_step(terms)}⟩ g_i" * terms.temperature


def _normals(terms: Terms) -> str:
    return ", gᵢ independent standard normals" * terms.temperature


def _on_samples(
    plan: dict[str, Any], terms: Terms, slope: str, own: bool, passes: bool
) -> Equation:
    """SGD on mini-batches."""
    loss = f"{slope} ∇_θ σ(x_k; θ_i)"
    if own:  # its samples carry the neuron's number
        loss = loss.replace("x_k", "x_⟨k i⟩").replace("y_k", "y_⟨k i⟩")
    parts = [
        loss,
        *["∇V(θ_i)"] * terms.potential,
        *["⅟1N ∑_⟨j=1⟩^N ∇_θ W(θ_i, θ_j)"] * terms.interaction,
        *["2 λ θ_i"] * terms.ridge,
    ]
    text = f"θ_i ← θ_i − {_step(terms)} {{{' + '.join(parts)}}}{_kick(terms)}"
    words = f"One step of the {_who(terms)}, {_times(terms)}"
    if plan["batch"] > 1:
        words += f"; the term with the loss is averaged over {plan['batch']} samples"
    words += "; every unit draws samples of its own" * own
    words += "; samples are taken in passes over the data set, each in a new order" * passes
    return Equation(display(text), f"{words}{_normals(terms)}.")


def _exact(terms: Terms, recursion: bool) -> Equation:
    """Exact forces: SGD on all samples, or Langevin dynamics."""
    whole = ", on the whole data set or quadrature" * terms.network
    if recursion:
        text = f"θ_i ← θ_i − {_step(terms)} {_FORCE}{_kick(terms)} ‖ {_CLOUD}"
        words = f"One step of the {_who(terms)}{whole}, {_times(terms)}{_normals(terms)}."
        return Equation(display(text), words)
    xi = "ξ(t) " * terms.schedule
    noise = f" + √⟨2 T {xi}⟩ d B_i" * terms.temperature
    text = f"d θ_i = −{xi}{_FORCE} d t{noise} ‖ {_CLOUD}"
    kind = "Langevin dynamics" if terms.temperature else "The gradient flow"
    words = f"{kind} of N particles{whole}"
    words += ", Bᵢ independent Brownian motions" * terms.temperature
    method = "Euler–Maruyama" if terms.temperature else "Euler"
    return Equation(display(text), f"{words}; in steps of length ε ({method}).")


def _diffusion(terms: Terms, options: dict[str, str]) -> Equation:
    """The noise of stochastic gradients kept, in continuous time."""
    xi = "ξ(t) " * terms.schedule
    common = options.get("noise") == "common"
    noise = "∫ Σ^⟨1/2⟩(θ_i, μ_N, z) B(d z, d t)" if common else "Σ^⟨1/2⟩(θ_i, μ_N) d B_i"
    extra = f" + √⟨2 T {xi}⟩ d B′_i" * terms.temperature
    text = (
        f"d θ_i = −{xi}{{{_FORCE} d t + √c {noise}}}{extra} ‖ "
        "Σ(θ, μ) = Cov_⟨x, y⟩ [∂_f ℓ(f_μ(x), y) ∇_θ σ(x; θ)]"
    )
    who = (
        "B is one Brownian sheet on the data z = (x, y), the same for all units"
        if common
        else "the Brownian motions Bᵢ are independent, every unit has its own"
    )
    words = f"SGD’s noise in continuous time (c = {short(float(options['scale']))}): {who}. "
    words += "The covariance of the noise above is c times this Σ. " * terms.noise
    return Equation(display(text), words + "In steps of length ε (Euler–Maruyama).")


def _gradient_flow(terms: Terms, rtol: str) -> Equation:
    """As an ordinary differential equation."""
    xi = "ξ(t) " * terms.schedule
    how = (
        "by the classical Runge–Kutta method of order 4 with steps ε"
        if rtol == "None"
        else f"by Dormand–Prince’s Runge–Kutta method of order 5, relative tolerance {rtol}"
    )
    text = f"⅟⟨d θ_i⟩⟨d t⟩ = −{xi}{_FORCE} ‖ {_CLOUD}"
    return Equation(display(text), f"The gradient flow of N particles, {how}.")


def _birth_death(terms: Terms, bandwidth: str) -> Equation:
    """What happens after each step."""
    text = f"p_i = 1 − exp(−α |V_i − ⅟1N ∑_⟨j=1⟩^N V_j| {_step(terms)}) ‖ V_i = F′[μ_N](θ_i)"
    words = (
        "Then, in every step, a particle whose first variation is above the mean dies with "
        "probability pᵢ, one below the mean is doubled, and the population is brought back to N "
        "uniformly."
    )
    if bandwidth != "None":
        text += " + T log ρ_h(θ_i)"
        words += f" ρₕ is μ_N smoothed by a normal law of standard deviation h = {bandwidth}."
    return Equation(display(text), words)
