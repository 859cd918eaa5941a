"""A validation, or a plain run, as one self-contained HTML page; an index over many."""

from ddpde.report.index import write_index
from ddpde.report.page import write

__all__ = ["write", "write_index"]
