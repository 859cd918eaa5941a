"""Validations that several files' tests look at, made once."""

import shutil

import pytest
import report_folders


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A full validation on a line."""
    return report_folders.gaussians(tmp_path_factory.mktemp("gaussians"))


@pytest.fixture(scope="session")
def planar(tmp_path_factory):
    """A full validation on real data."""
    return report_folders.digits(tmp_path_factory.mktemp("digits"))


@pytest.fixture
def folder(made, tmp_path):
    """A copy of the validation on a line, to be spoilt."""
    return shutil.copytree(made, tmp_path / "copy")
