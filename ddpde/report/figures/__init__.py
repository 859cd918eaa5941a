"""The figures of a report: each a few small panels, a legend and a caption in words."""

from __future__ import annotations

from ddpde.report.figures import budget, decision, distances, fluctuations, gaps, laws, risk
from ddpde.report.figures.drawing import Figure
from ddpde.report.folder import Content

__all__ = ["Figure", "figures"]

_IN_ORDER = (
    laws.figure,
    laws.film,
    risk.figure,
    gaps.figure,
    gaps.strong,
    distances.figure,
    fluctuations.figure,
    decision.figure,
    budget.figure,
)


def figures(content: Content) -> list[Figure]:
    """All figures that the content is enough for, in the order of the page."""
    drawn = (draw(content) for draw in _IN_ORDER)
    return [figure for figure in drawn if figure is not None]
