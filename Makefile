# `make` alone lists the targets; each does its own set-up.
PYTHON ?= python3
CORPUS ?=
# Dependency groups need pip 25.1; this one was tried.
PIP_VERSION := 26.3
BIN := .venv/bin

.DELETE_ON_ERROR:
.PHONY: help setup demo test test-slow lint types check bench bench-gpu clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.installed ## the virtual environment .venv, with revlm and what its development needs

.venv/.installed: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { \
		echo "revlm needs Python 3.11 or newer and there is no $(PYTHON): install one, or name it as in make setup PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("revlm needs Python 3.11 or newer and $(PYTHON) is " + sys.version.split()[0] + ": name a newer one, as in make setup PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install "pip==$(PIP_VERSION)"
	$(BIN)/python -m pip install --no-compile --constraint constraints.txt --editable . --group dev
	@# On all cores, unlike pip; a file of PyTorch's for Python 3.12 has a newer syntax.
	@$(BIN)/python -m compileall -qq -j 0 .venv/lib || true
	@touch $@

demo: setup ## a novel, a model trained on it in minutes, pictures and a sample (CORPUS=folder for your own texts)
	scripts/demo.sh $(if $(CORPUS),"$(CORPUS)")

# Each process holds PyTorch, and works with one thread.
IN_PROCESSES := --numprocesses logical --maxprocesses 4 --dist worksteal

test: setup ## the tests, in minutes
	$(BIN)/python -m pytest $(IN_PROCESSES)

test-slow: setup ## the tests that take minutes each
	$(BIN)/python -m pytest -m slow

lint: setup ## ruff, its formatting, and shellcheck
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/shellcheck --external-sources scripts/*.sh scripts/*.sbatch tests/slurm/*.sh .ci/run

types: setup ## mypy
	$(BIN)/mypy

check: lint types test ## lint, types and test

bench: .venv/.bench-installed ## speed and memory of the core, of generation, and of its peers beside it; hours
	$(BIN)/python scripts/bench_core.py
	$(BIN)/python scripts/bench_peers.py
	$(BIN)/python scripts/bench_generate.py

bench-gpu: setup ## on a CUDA card: the kernels are right, then speed and memory up to a million tokens; 10 minutes
	$(BIN)/python scripts/bench_gpu.py

.venv/.bench-installed: .venv/.installed
	$(BIN)/python -m pip install --constraint constraints.txt --group bench
	@touch $@

clean: ## remove caches and builds; .venv, data and runs stay
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find revlm tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
