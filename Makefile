# Two commands are all a fresh machine needs: `make study` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help study test lint types check clean

help:
	@echo "make study   environment, install, embedded study in both modes, report"
	@echo "make test    environment, install, whole test suite"
	@echo "make check   tests, linter and type checker"

# The stamp is newer than what decides the environment, so nothing is installed twice.
$(VENV)/stamp: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,oracles]'
	@touch $@

study: $(VENV)/stamp
	$(BIN)/python experiments/run.py --mode both

test: $(VENV)/stamp
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/stamp
	$(BIN)/mypy

check: test lint types

clean:
	rm -rf $(VENV) store report
