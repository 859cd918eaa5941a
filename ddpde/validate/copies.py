"""The strong error: particles beside mean-field copies that move in the law of the PDE."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from mpi4py import MPI

from ddpde.compare import Extrapolation, Rate, extrapolate, fit_rate, half_width
from ddpde.particles import LawPath
from ddpde.run import solve
from ddpde.validate.case import Case

_BETWEEN = 32  # parts of the time between two outputs, over which the law is linear


@dataclass(frozen=True, eq=False)
class StrongError:
    """E |X − X̄|² of particles and their copies, of the same initial parameters, samples and noise.

    squared, half (n_widths, n_times): mean over particles and replicas, 95 % half width.
    limit, rate (n_times): squared as limit + rate/N, and its exponent in N. step (n_times): what
    the step size adds, the noise common to the neurons of SGD included.
    """

    squared: np.ndarray
    half: np.ndarray
    limit: list[Extrapolation]
    rate: list[Rate]
    step: np.ndarray

    @classmethod
    def of(cls, widths: np.ndarray, squares: np.ndarray, step: np.ndarray) -> StrongError:
        """From squares (n_widths, n_times, replicas)."""
        times = range(squares.shape[1])
        return cls(
            squared=squares.mean(axis=-1),
            half=half_width(squares),
            limit=[extrapolate(widths, squares[:, i]) for i in times],
            rate=[fit_rate(widths, squares[:, i], budget=step[i]) for i in times],
            step=step,
        )


def law_path(case: Case) -> LawPath:
    """The PDE's law at many times, on all ranks; collective."""
    comm = MPI.COMM_WORLD
    ends = np.array([0.0, *case.times]) if case.times[0] > 0 else np.array(case.times)
    parts = np.arange(_BETWEEN) / _BETWEEN
    between = (ends[:-1, None] + np.diff(ends)[:, None] * parts).ravel()
    times = np.append(between, ends[-1])
    mesh, options = case.mesh.build(comm), case.options
    run = solve(
        case.problem, mesh, times=times.tolist(), options=options, label="PDE, for the copies"
    )
    if not run.finished:
        raise KeyboardInterrupt
    points = [law.points(case.options.degree + 1) for law in run.laws]
    x, masses = comm.bcast(tuple(map(np.array, zip(*points, strict=True))) if points else None)
    return LawPath(run.times, x if (x != x[0]).any() else x[0], masses)
