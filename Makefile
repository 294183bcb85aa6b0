# Every target sets up what it needs in .venv; Python 3.11+ and make are all that must be there.
PYTHON ?= python3
BIN := .venv/bin
# pytest-xdist workers: the tests spend their time in one-threaded compiled code.
WORKERS ?= 2
# What two threads gain can only be seen where nothing else runs.
ALONE := tests/project/test_speed.py

# Reaches isolated builds too, so that nothing outside the tested set is ever installed.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test verify verify-clients lint format docs wheel pretrained clean

help:
	@echo "make demo    train a router on real arrivals and compare it (runs/demo)"
	@echo "make test    lint, types and tests"
	@echo "make verify  the long proofs"
	@echo "make verify-clients  other libraries, each where it can be installed"
	@echo "make lint    ruff, codespell and mypy"
	@echo "make format  let ruff format and fix"
	@echo "make docs    the site, as build/site"
	@echo "make wheel   what can be published, checked (dist)"
	@echo "make pretrained  train the shipped routers again, minutes each"
	@echo "make .venv   the development environment alone"

demo: .venv/.train
	$(BIN)/llmroute demo

test: lint
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile

verify: .venv
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist load -m verify --ignore $(ALONE)
	$(BIN)/python -m pytest -q -m verify $(ALONE)

docs: .venv
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "make docs: build/site/index.html, or with its search: python3 -m http.server -d build/site"

# ENVIRONMENTS=rllib builds and runs that one alone.
verify-clients: .venv/bin/python
	$(BIN)/python tests/clients/environments.py $(ENVIRONMENTS)

wheel: .venv
	rm -rf dist
	$(BIN)/python -m hatchling build -d dist
	$(BIN)/twine check --strict dist/*

pretrained: .venv/.train
	$(BIN)/python -m benchmarks.shipping.pretrained

lint: .venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/mypy examples

format: .venv
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: .venv
.venv: .venv/.dev

.venv/.dev: pyproject.toml constraints.txt .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch .venv/.dev .venv/.train

.venv/.train: pyproject.toml constraints.txt .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[train]'
	@touch $@

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "llmroute needs Python 3.11 or newer, PYTHON=... names one; found " + sys.version)'
	$(PYTHON) -m venv .venv

clean:
	rm -rf .venv .clients runs dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis
