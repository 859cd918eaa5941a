"""The environment of every test, and of the processes that tests start."""

import os

# Set before NumPy, JAX or matplotlib are imported, which is why this is not a fixture.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
