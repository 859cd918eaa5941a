"""Exceptions of ddpde: each says what is wrong and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence


class DdpdeError(Exception):
    """Base of every error that ddpde raises on purpose.

    `exit_code` is what the command line returns for it.
    """

    exit_code = 1

    def __init__(self, what: str, remedy: str = "") -> None:
        self.what = what
        self.remedy = remedy
        super().__init__(f"{what}\n  -> {remedy}" if remedy else what)


class ConfigError(DdpdeError):
    """A case file is wrong; carries every problem found, each with its key path."""

    exit_code = 2

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        lines = "\n".join(f"  - {p}" for p in self.problems)
        super().__init__(f"{source}:\n{lines}")


class ProblemError(DdpdeError):
    """The problem is ill-posed, or asks for something its parts cannot give."""

    exit_code = 2


class MeshError(DdpdeError):
    """The mesh does not fit the problem."""

    exit_code = 2


class SolverError(DdpdeError):
    """The computation cannot go on (diverged, non-finite, step below its floor)."""


class MissingDependencyError(DdpdeError, ImportError):
    """A library that this part of ddpde needs is not installed."""
