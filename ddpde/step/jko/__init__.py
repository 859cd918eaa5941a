"""Minimising movements at the vertices of a mesh."""

from ddpde.step.jko.lagged import Lagged

__all__ = ["Lagged"]
