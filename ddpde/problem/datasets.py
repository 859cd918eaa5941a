"""Problems on tables of data, scikit-learn's own or yours: a projection, then one tanh unit.

Projection and scales come from the training part alone; the held-out part is `test_data`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from ddpde.errors import ProblemError
from ddpde.problem.activations import tanh
from ddpde.problem.data import DataSet
from ddpde.problem.initial import GaussianLaw
from ddpde.problem.losses import LOSSES
from ddpde.problem.problem import Problem
from ddpde.problem.units import RidgeUnit


def digits_pca(
    classes: tuple[int, int] = (3, 8),
    bias: bool = False,
    temperature: float = 0.02,
    ridge: float = 0.01,
    std: float = 0.5,
    loss: Literal["squared", "logistic"] = "squared",
    test_fraction: float = 0.3,
    split_seed: int = 0,
) -> Problem:
    """Two classes of scikit-learn's handwritten digits on two principal components.

    σ = tanh(⟨w, x⟩ [+ b]), labels ±1; the projection and its scale come from the training
    part alone, the held-out part is `test_data`.
    """
    parameters = dict(locals())  # every argument, for the report
    from sklearn.datasets import load_digits

    first, second = classes
    if first == second or not {first, second} <= set(range(10)):
        raise ProblemError(f"classes = {list(classes)}: two different digits from 0 to 9")
    pixels, digit = load_digits(return_X_y=True)
    chosen = np.isin(digit, classes)
    labels = np.where(digit[chosen] == first, 1.0, -1.0)
    del parameters["classes"]
    problem = on_components(
        "digits_pca", pixels[chosen], labels, regression=False, standardise=False, **parameters
    )
    return replace(problem, parameters={"classes": list(classes)} | parameters)


def tabular_pca(
    dataset: Literal["breast_cancer", "wine", "diabetes"] = "diabetes",
    components: int = 2,
    bias: bool = False,
    output_weight: bool = False,
    positive_class: int = 0,
    temperature: float = 0.02,
    ridge: float = 0.01,
    std: float = 0.5,
    loss: Literal["squared", "logistic"] = "squared",
    test_fraction: float = 0.3,
    split_seed: int = 0,
) -> Problem:
    """Breast cancer, wine (one class against the rest) or diabetes (regression) on components.

    σ = [a] tanh(⟨w, x⟩ [+ b]) of standardised features on whitened principal components. Labels
    are +1 for positive_class, else −1; diabetes' target is standardised on the training part,
    and halved: a mean of bounded units reaches (−1, 1).
    """
    parameters = dict(locals())  # every argument, for the report
    from sklearn import datasets

    load = {
        "breast_cancer": datasets.load_breast_cancer,
        "wine": datasets.load_wine,
        "diabetes": datasets.load_diabetes,
    }
    if dataset not in load:
        raise ProblemError(f"dataset = {dataset!r}: one of {', '.join(load)}")
    features, target = load[dataset](return_X_y=True)
    regression = dataset == "diabetes"
    if not regression:
        if positive_class not in target:
            raise ProblemError(f"positive_class = {positive_class}: not a class of {dataset}")
        target = np.where(target == positive_class, 1.0, -1.0)
    given = {k: v for k, v in parameters.items() if k not in ("dataset", "positive_class")}
    problem = on_components("tabular_pca", features, target, regression=regression, **given)
    return replace(problem, parameters=parameters)


def on_components(
    name: str,
    features: np.ndarray,
    target: np.ndarray,
    *,
    regression: bool,
    components: int = 2,
    standardise: bool = True,
    bias: bool = False,
    output_weight: bool = False,
    temperature: float = 0.02,
    ridge: float = 0.01,
    std: float = 0.5,
    loss: str = "squared",
    test_fraction: float = 0.3,
    split_seed: int = 0,
) -> Problem:
    """σ = [a] tanh(⟨w, x⟩ [+ b]) on whitened principal components of a table of your own.

    features (M, k), target (M,): labels ±1, or numbers of a `regression`, which are standardised
    on the training part and halved, for a mean of bounded units reaches (−1, 1). `standardise`: the
    features too, before they are projected. `test_data` is the held-out part.
    Raises ProblemError for tables that are no numbers, and values that are impossible.
    """
    from sklearn.decomposition import PCA
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    whole = DataSet(features, target)  # checks them
    if not 1 <= components <= whole.input_dim:
        raise ProblemError(f"components = {components}: from 1 to {whole.input_dim}")
    losses = ["squared"] if regression else list(LOSSES)
    if loss not in losses:
        raise ProblemError(f"loss = {loss!r}: one of {', '.join(losses)}")
    if not regression and not np.isin(whole.y, (-1.0, 1.0)).all():
        raise ProblemError("target: labels must be -1 or 1", "regression=True takes any numbers")
    if not 0 < test_fraction < 1:
        raise ProblemError(f"test_fraction = {test_fraction}: must lie in (0, 1)")
    try:
        train_x, test_x, train_y, test_y = train_test_split(
            whole.x,
            whole.y,
            test_size=test_fraction,
            random_state=split_seed,
            stratify=None if regression else whole.y,
        )
        if standardise:
            scaler = StandardScaler().fit(train_x)
            train_x, test_x = scaler.transform(train_x), scaler.transform(test_x)
        # whiten: the scores are centred and have unit variance on the training part
        pca = PCA(n_components=components, whiten=True, svd_solver="full").fit(train_x)
    except ValueError as error:  # too few rows, for one
        raise ProblemError(f"the table cannot be split and projected: {error}") from None
    mean, scale = (train_y.mean(), 2.0 * train_y.std()) if regression else (0.0, 1.0)
    if not scale > 0:
        raise ProblemError("target: all numbers are the same")
    unit = RidgeUnit(tanh, input_dim=components, bias=bias, output_weight=output_weight)
    return Problem(
        name=name,
        unit=unit,
        data=DataSet(pca.transform(train_x), (train_y - mean) / scale),
        test_data=DataSet(pca.transform(test_x), (test_y - mean) / scale),
        initial=GaussianLaw.isotropic(unit.dim, std),
        loss=LOSSES[loss],
        temperature=temperature,
        ridge=ridge,
    )
