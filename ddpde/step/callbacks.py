"""What is raised inside PETSc."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from petsc4py import PETSc


@contextmanager
def own_errors() -> Iterator[None]:
    """An exception of a callback comes out as itself, not as the PETSc.Error made of it."""
    try:
        yield
    except PETSc.Error as error:
        if error.__cause__ is not None:
            raise error.__cause__ from None
        raise
