"""The particles' side of a validation: finite-N training at several widths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from mpi4py import MPI

from ddpde.comm import progress
from ddpde.compare import cloud_energy
from ddpde.particles import Ensemble, LawPath, risk, train
from ddpde.problem import Problem
from ddpde.validate.case import ParticlePlan


@dataclass(frozen=True, eq=False)
class Experiments:
    """Arrays over (n_widths, n_times, replicas); `coordinates` per width (n_times, R, N, k).

    risk: of a network on raw samples; without a network the energy F stands in its place.

    strong: |X − X̄|² of particles and mean-field copies, mean over the particles; None where the
    plan asks for no copies.

    step_bias (n_times, replicas): the change of risk that the step size makes, by comparison
    with a step `bias_factor` times larger from the same initial weights, at `bias_width`;
    strong_bias: the same of `strong`.
    """

    widths: np.ndarray
    times: np.ndarray
    risk: np.ndarray
    test_risk: np.ndarray | None
    coordinates: list[np.ndarray]
    step_bias: np.ndarray
    bias_width: int
    wall: float
    network: np.ndarray
    strong: np.ndarray | None = None
    strong_bias: np.ndarray | None = None


def run_experiments(
    problem: Problem,
    plan: ParticlePlan,
    times: np.ndarray,
    comm: MPI.Comm,
    law: LawPath | None = None,
) -> Experiments | None:
    """Train every width, measure risks on raw samples, and the bias of the step size.

    law: the PDE's over time, in which copies move beside the particles. The ranks of `comm` share
    the replicas out; rank 0 measures them all, the others return None.
    """
    ensembles = [_train(problem, plan, comm, width, times) for width in plan.widths]
    # the bias hardly depends on N: measure it where training is cheap, noise still low
    index = len(plan.widths) // 2
    coarse = _train(problem, plan, comm, plan.widths[index], times, plan.bias_factor)
    factor, beside = plan.bias_factor, []
    if law is not None:
        pairs = [(e, 1) for e in ensembles] + [(coarse, factor)]
        for particles, longer in pairs:
            copies = _train(problem, plan, comm, particles.width, times, longer, law)
            apart = particles.theta.astype(float) - copies.theta
            beside.append((apart**2).sum(axis=-1).mean(axis=-1))
    if comm.rank > 0:
        return None
    risks = np.stack([_risk(problem, plan, e) for e in ensembles])
    test = None
    if problem.test_data is not None:
        test = np.stack([risk(problem, e.theta, problem.test_data)[0] for e in ensembles])
    bias = (_risk(problem, plan, coarse) - risks[index]) / (factor - 1)
    return Experiments(
        widths=np.array(plan.widths),
        times=times,
        risk=risks,
        test_risk=test,
        coordinates=[_coordinates(problem, e.theta) for e in ensembles],
        step_bias=bias,
        bias_width=plan.widths[index],
        wall=sum(e.wall for e in ensembles) + coarse.wall,
        network=ensembles[-1].theta[-1, 0],
        strong=np.stack(beside[:-1]) if beside else None,
        strong_bias=(beside[-1] - beside[index]) / (factor - 1) if beside else None,
    )


def _train(
    problem: Problem,
    plan: ParticlePlan,
    comm: MPI.Comm,
    width: int,
    times: np.ndarray,
    longer: int = 1,
    law: LawPath | None = None,
) -> Ensemble:
    """Steps `longer` than planned, where their bias is measured.

    Where the problem keeps SGD's noise, the batch grows with the step: the noise is the same.
    """
    step_size = plan.step(width) * longer
    batch = plan.batch * longer if problem.noise is not None else plan.batch
    steps = times[-1] / step_size
    what = "particles" if law is None else "copies"
    with progress(f"{what}, N = {width}, step {step_size:g}") as bar:
        return train(
            problem,
            width,
            replicas=plan.replicas,
            step_size=step_size,
            times=times,
            seed=plan.seed,
            system=plan.system,
            batch=batch,
            dtype=plan.dtype,
            law=law,
            comm=comm,
            progress=lambda done: bar.to(done / steps if steps else 1.0),
        )


def _risk(problem: Problem, plan: ParticlePlan, ensemble: Ensemble) -> np.ndarray:
    samples, seed = plan.risk_samples, plan.seed
    if problem.data is None:
        return cloud_energy(problem, ensemble.theta)
    return risk(problem, ensemble.theta, problem.data, samples=samples, seed=seed)[0]


def _coordinates(problem: Problem, theta: np.ndarray) -> np.ndarray:
    flat = problem.coordinates(theta.reshape(-1, theta.shape[-1]).astype(np.float64))
    return flat.reshape(*theta.shape[:-1], -1)
