# What a developer runs; `make help` lists it. The package itself needs none of this.
VENV := .venv
BIN := $(VENV)/bin
# The interpreter for a new .venv; empty: tools/find-python looks for one.
PYTHON ?=
ARGS ?=
export PYTHON

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile
	@echo '  PYTHON=/path/to/python3.12 chooses the interpreter of a new $(VENV)'

demo: $(VENV)/.installed  ## the first validation case, with its report
	$(BIN)/ddpde validate validation/mei2018_isotropic/case.toml

validate: $(VENV)/.installed  ## every validation case; those done before are kept
	$(BIN)/ddpde validate --resume --index validation/index.html validation/*/*.toml

# One thread a process: the tests' matrices are small, and some tests start several ranks.
test bench: export OMP_NUM_THREADS = 1

# A file at a time to each of some processes, in the order in which they are collected.
PARALLEL := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test: $(VENV)/.installed  ## the tests; ARGS="tests/unit -k name" for some of them
	@$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

bench: $(VENV)/.installed  ## the benchmarks
	@for file in tests/benchmarks/bench_*.py; do $(BIN)/python $$file || exit 1; done

lint: $(VENV)/.installed  ## style, types, import contract
	@$(BIN)/python -m pytest tests/unit/test_setup.py -k lint

clean:  ## remove .venv, builds and caches
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find ddpde tests -name __pycache__ -prune -exec rm -rf {} +

# The stamp spares a second installation until what is asked for changes.
$(VENV)/.installed: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[all]'
	@touch $@

$(BIN)/python:
	@python=$$(tools/find-python) && echo "$(VENV) is made with $$python" && "$$python" -m venv --clear $(VENV)

.PHONY: help demo validate test bench lint clean
