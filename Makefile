# One word a task. `make demo` and `make test` are all that a newcomer needs.
PYTHON ?= python3
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help venv demo test test-slow test-lowest test-newest lint format stubs tables docs constraints benchmarks clean

# Where bytecode is not written, every task imports Airflow and MLflow four times as slowly.
unexport PYTHONDONTWRITEBYTECODE

VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
CONSTRAINTS := constraints/python-$(VERSION).txt
UV := .venv/bin/uv
EXTRAS := dev,docker,kubernetes
# Two at a time: half of the suite waits for servers that it has started.
PYTEST_ARGUMENTS ?= --numprocesses 2 --dist loadfile

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  make \1|\2/' | column -t -s '|'

venv: .venv/.installed .venv-step/.installed .venv-base/.installed ## Make the environments, from pinned constraints

$(UV):
	@$(PYTHON) -c 'import sys; assert (3, 11) <= sys.version_info < (3, 14), "Python 3.11, 3.12 or 3.13 is needed, this is " + sys.version'
	@$(PYTHON) -m venv .venv
	@.venv/bin/pip install --quiet --disable-pip-version-check uv

.venv/.installed: $(UV) pyproject.toml $(CONSTRAINTS)
	@echo "Installing the package and what it needs into .venv"
	@$(UV) pip install --quiet --python .venv/bin/python --constraints $(CONSTRAINTS) --editable '.[$(EXTRAS)]'
	@touch $@

# An interpreter without Airflow, in which PythonRuntime runs steps.
.venv-step/.installed: $(UV) pyproject.toml $(CONSTRAINTS)
	@echo "Installing the package without Airflow into .venv-step"
	@$(UV) venv --quiet --allow-existing --python $(PYTHON) .venv-step
	@$(UV) pip install --quiet --python .venv-step/bin/python --constraints $(CONSTRAINTS) --editable '.[steps,serving]'
	@touch $@

# The package and nothing else, to see that a step names the extra that is missing.
.venv-base/.installed: $(UV) pyproject.toml $(CONSTRAINTS)
	@echo "Installing the package without any extra into .venv-base"
	@$(UV) venv --quiet --allow-existing --python $(PYTHON) .venv-base
	@$(UV) pip install --quiet --python .venv-base/bin/python --constraints $(CONSTRAINTS) --editable .
	@touch $@

demo: .venv/.installed ## Data to monitored model in a real Airflow on this machine
	@.venv/bin/python -m demo

test: venv ## The whole test suite
	@.venv/bin/python -m pytest $(PYTEST_ARGUMENTS)

test-slow: venv ## What takes long: installations, and the suite on the oldest and the newest set
	@.venv/bin/python -m pytest -m slow $(PYTEST_ARGUMENTS)
	@$(MAKE) --no-print-directory test-lowest
	@$(MAKE) --no-print-directory test-newest

test-lowest: ## The suite on the oldest supported set
	@$(MAKE) --no-print-directory test-set SET=lowest SET_PYTHON=3.11

test-newest: ## The suite on the newest set
	@$(MAKE) --no-print-directory test-set SET=newest SET_PYTHON=3.13

.PHONY: test-set
test-set: .venv/.installed
	@$(UV) venv --quiet --allow-existing --python $(SET_PYTHON) .venv-$(SET)
	@$(UV) pip install --quiet --python .venv-$(SET)/bin/python --constraints constraints/$(SET).txt --editable '.[dev]'
	@$(UV) venv --quiet --allow-existing --python $(SET_PYTHON) .venv-$(SET)-step
	@$(UV) pip install --quiet --python .venv-$(SET)-step/bin/python --constraints constraints/$(SET).txt --editable '.[steps,serving]'
	@$(UV) venv --quiet --allow-existing --python $(SET_PYTHON) .venv-$(SET)-base
	@$(UV) pip install --quiet --python .venv-$(SET)-base/bin/python --constraints constraints/$(SET).txt --editable .
	@MLOPS_BASE_PYTHON=$(CURDIR)/.venv-$(SET)-base/bin/python MLOPS_STEP_PYTHON=$(CURDIR)/.venv-$(SET)-step/bin/python .venv-$(SET)/bin/python -m pytest $(PYTEST_ARGUMENTS)

lint: .venv/.installed ## ruff, mypy, import-linter, plain English
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-logo
	@.venv/bin/python -m pytest -q -p no:cacheprovider tests/docs/test_language.py

stubs: .venv/.installed ## Write the operators' arguments for type checkers, from the Specs
	@.venv/bin/python -m tools.operator_arguments

format: .venv/.installed ## Let ruff put the code into shape
	@.venv/bin/ruff check --fix --quiet . || true
	@.venv/bin/ruff format .

tables: .venv/.installed ## Write the tables of fields into the docs
	@.venv/bin/python -m docs.tables

docs: .venv/.installed ## Build the documentation; a warning is an error
	@.venv/bin/sphinx-build --fail-on-warning --keep-going --quiet docs docs/_build/html
	@echo "docs/_build/html/index.html"

# The registry's addresses stay out of the files: names and versions only.
COMPILE := $(UV) pip compile --quiet --no-annotate --no-header --no-emit-index-url --no-emit-find-links
constraints: $(UV) ## Resolve the pinned versions anew
	@for version in 3.11 3.12 3.13; do \
	  $(COMPILE) --upgrade --python-version $$version --extra dev --extra docker --extra kubernetes --extra spark \
	    --constraints constraints/pinned.in pyproject.toml --output-file constraints/python-$$version.txt; done
	@$(COMPILE) --upgrade --python-version 3.11 --resolution lowest-direct --extra dev \
	    --constraints constraints/lowest.in pyproject.toml --output-file constraints/lowest.txt
	@$(COMPILE) --upgrade --python-version 3.13 --extra dev \
	    --constraints constraints/newest.in pyproject.toml --output-file constraints/newest.txt

benchmarks: .venv/.installed ## All benchmarks, at full size
	@.venv/bin/python -m benchmarks.extract_analyze
	@.venv/bin/python -m benchmarks.pipeline
	@.venv/bin/python -m benchmarks.serving
	@.venv/bin/python -m benchmarks.serving_peers
	@.venv/bin/python -m benchmarks.serving_parts
	@.venv/bin/python -m benchmarks.compilers
	@.venv/bin/python -m benchmarks.kills
	@.venv/bin/python -m benchmarks.unfinished_bodies

clean: ## Remove what the targets above have made
	@rm -rf .venv .venv-* .demo docs/_build .mypy_cache .ruff_cache .pytest_cache
