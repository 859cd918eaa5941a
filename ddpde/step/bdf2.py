"""Variational BDF2 of Gallouët, Natale & Todeschi (Math. Comp. 93, 2024) with steps that change.

A law is extrapolated from the last two, and the next one is a minimising movement from there:

    ρⁿ⁺¹ = argmin W₂²(·, μ)/(2h) + F_T,   μ on the way from ρⁿ⁻¹ through ρⁿ, farther on.

Equal steps τ: μ a third of that way beyond ρⁿ, and h = 2τ/3.
"""

from __future__ import annotations

LONGEST = 2.4  # ratio of steps; BDF2 is stable below 1 + √2


def weights(ratio: float) -> tuple[float, float]:
    """After a step τ' and for τ = `ratio` τ': (how much of the last way to add, h/τ)."""
    return ratio**2 / (1 + 2 * ratio), (1 + ratio) / (1 + 2 * ratio)
