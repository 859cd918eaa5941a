"""A file's `cases` (a fixture) and `PROGRAMS`, on so many ranks: started once for each number."""

import pytest
from on_ranks import launched


@pytest.fixture(scope="module")
def of_ranks(request, tmp_path_factory, cases):
    def launch(ranks):
        folder = tmp_path_factory.mktemp(f"ranks_{ranks}_")
        return launched(ranks, folder, cases, request.module.PROGRAMS)

    return launch


@pytest.fixture(scope="module")
def serial(of_ranks):
    """Without mpirun."""
    return of_ranks(0)


@pytest.fixture(scope="module", params=(2, 3))
def parallel(request, of_ranks):
    return of_ranks(request.param)
