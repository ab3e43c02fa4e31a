# make demo   everything from nothing: environment, installation, quickstart, report
# make test   the same for the tests
# make lint   ruff and mypy
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
OUT ?= runs/quickstart
PIP = $(BIN)/python -m pip install --quiet --constraint constraints.txt

.PHONY: demo test lint clean

demo: $(VENV)/.installed
	$(BIN)/linksim simulate scenarios/quickstart.yaml --out $(OUT)
	@echo "open $(OUT)/report.html; figures are in $(OUT)/figures, numbers in $(OUT)/results.csv"

test: $(VENV)/.tests-installed
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

lint: $(VENV)/.lint-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "linksim needs Python 3.11 or newer, got $$($(PYTHON) --version). Use make PYTHON=python3.11 ..."; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable .
	@touch $@

$(VENV)/.tests-installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable ".[test]"
	@touch $@ $(VENV)/.installed

$(VENV)/.lint-installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable ".[test,dev]"
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) build dist *.egg-info
