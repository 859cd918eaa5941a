"""A validation, or a plain run, as one self-contained HTML page."""

from ddpde.report.page import write

__all__ = ["write"]
