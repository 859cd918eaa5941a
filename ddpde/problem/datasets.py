"""Problems on the data sets that come with scikit-learn: a projection, then one tanh unit.

Projection and scales come from the training part alone; the held-out part is `test_data`.
"""

from __future__ import annotations

from typing import Any, Literal

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
    train, test = _projected(pixels[chosen], labels, 2, False, True, test_fraction, split_seed)
    return _problem("digits_pca", train, test, parameters | {"classes": list(classes)})


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
    if not 1 <= components <= features.shape[1]:
        raise ProblemError(f"components = {components}: from 1 to {features.shape[1]}")
    regression = dataset == "diabetes"
    if regression and loss != "squared":
        raise ProblemError(f"loss = {loss!r} for a regression: loss = 'squared'")
    if not regression:
        if positive_class not in target:
            raise ProblemError(f"positive_class = {positive_class}: not a class of {dataset}")
        target = np.where(target == positive_class, 1.0, -1.0)
    train, test = _projected(
        features, target, components, True, not regression, test_fraction, split_seed
    )
    if regression:
        mean, scale = train.y.mean(), 2.0 * train.y.std()
        train, test = (DataSet(part.x, (part.y - mean) / scale) for part in (train, test))
    return _problem("tabular_pca", train, test, parameters)


def _problem(name: str, train: DataSet, test: DataSet, parameters: dict[str, Any]) -> Problem:
    """σ = [a] tanh(⟨w, x⟩ [+ b]) on the training part, with the arguments of a builder."""
    unit = RidgeUnit(
        tanh,
        input_dim=train.input_dim,
        bias=parameters["bias"],
        output_weight=parameters.get("output_weight", False),
    )
    return Problem(
        name=name,
        unit=unit,
        data=train,
        test_data=test,
        initial=GaussianLaw.isotropic(unit.dim, parameters["std"]),
        loss=LOSSES[parameters["loss"]],
        temperature=parameters["temperature"],
        ridge=parameters["ridge"],
        parameters=parameters,
    )


def _projected(
    features: np.ndarray,
    target: np.ndarray,
    components: int,
    standardise: bool,
    stratify: bool,
    test_fraction: float,
    split_seed: int,
) -> tuple[DataSet, DataSet]:
    """Training and held-out part on whitened principal components of the training part."""
    from sklearn.decomposition import PCA
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    if not 0 < test_fraction < 1:
        raise ProblemError(f"test_fraction = {test_fraction}: must lie in (0, 1)")
    train_x, test_x, train_y, test_y = train_test_split(
        features,
        target,
        test_size=test_fraction,
        random_state=split_seed,
        stratify=target if stratify else None,
    )
    if standardise:
        scaler = StandardScaler().fit(train_x)
        train_x, test_x = scaler.transform(train_x), scaler.transform(test_x)
    # whiten: the scores are centred and have unit variance on the training part
    pca = PCA(n_components=components, whiten=True, svd_solver="full").fit(train_x)
    return DataSet(pca.transform(train_x), train_y), DataSet(pca.transform(test_x), test_y)
