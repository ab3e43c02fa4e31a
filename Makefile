# make demo   everything from nothing: environment, installation, quickstart, report; WORKERS=1 takes less memory
# make test   the same for the tests
# make lint   ruff and mypy
# make docs   the documentation site, in docs/_build/html; a warning is an error
# make test-browser   the report and the demo in a browser; installs Chromium if there is none
# make test-tensorflow   the tests of TensorFlow channels, with TensorFlow installed
# make test-sionna1      a Sionna 1.x channel in linksim, in an environment of its own (.venv-sionna1)
# make test-lowest       tests with the lowest versions that pyproject.toml allows (.venv-lowest)
# make benchmarks        measures what README, documents and model cards print, and compares; ONLY="mistakes checks" some of it
# make dist              sdist and wheel in dist/, tested in an environment of their own
# make docker            the image of Dockerfile, with the quickstart as its test; TORCH_INDEX and BASE as in it
# TORCH_INDEX=https://download.pytorch.org/whl/cpu with any but test-lowest and test-sionna1: PyTorch from there, some
# gigabytes less without a GPU
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
OUT ?= runs/quickstart
WORKERS ?= 2
PIP = $(BIN)/python -m pip install --quiet --constraint constraints.txt

SIONNA1 = .venv-sionna1
LOWEST = .venv-lowest
TORCH_INDEX ?=
BASE ?= python:3.11-slim
ONLY ?=
IMAGES ?=
RESUME ?=
BENCHMARKS ?= runs/benchmarks

.PHONY: demo docs test test-browser test-tensorflow test-sionna1 test-lowest benchmarks dist docker lint clean

demo: $(VENV)/.installed
	$(BIN)/linksim simulate scenarios/quickstart.yaml --out $(OUT) --workers $(WORKERS)
	@echo "open $(OUT)/report.html; figures are in $(OUT)/figures, numbers in $(OUT)/results.csv"

test: $(VENV)/.tests-installed
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

docs: $(VENV)/.docs-installed
	$(BIN)/python -m sphinx -W --keep-going --quiet -b html docs docs/_build/html
	@echo "open docs/_build/html/index.html"

test-browser: $(VENV)/.browser-installed
	$(BIN)/python -m pytest -m browser tests/browser

test-tensorflow: $(VENV)/.tensorflow-installed
	$(BIN)/python -m pytest tests/channels/test_tf_bridge.py tests/channels/test_without_tensorflow.py \
	  tests/test_tensorflow_document.py

test-sionna1: $(SIONNA1)/.installed
	$(SIONNA1)/bin/python -m pytest tests/sionna1

# What touches most of the dependencies in some minutes. Golden results are those of constraints.txt: another x265 of PyAV
# makes other streams.
test-lowest: $(LOWEST)/.installed
	$(LOWEST)/bin/python -m pytest tests/theory/test_bounds.py tests/linksim/test_runs.py tests/linksim/test_metrics.py \
	  tests/linksim/test_source_and_mcs.py tests/linksim/test_transport.py tests/linksim/test_train.py tests/linksim/test_figures.py \
	  tests/linksim/test_scenario.py tests/linksim/test_diffjscc.py tests/linksim/test_tasks.py \
	  --deselect tests/linksim/test_runs.py::test_golden_results

benchmarks: $(VENV)/.tests-installed
	$(BIN)/python benchmarks/all.py --work $(BENCHMARKS) --out $(BENCHMARKS).json $(if $(ONLY),--only $(ONLY)) $(if $(IMAGES),--images $(IMAGES)) $(if $(RESUME),--resume)

dist: $(VENV)/.tests-installed
	$(PIP) build twine
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python -m pytest -m "slow or not slow" tests/test_wheel.py

docker:
	docker build --build-arg BASE=$(BASE) $(if $(TORCH_INDEX),--build-arg TORCH_INDEX=$(TORCH_INDEX)) --target smoke .
	docker build --build-arg BASE=$(BASE) $(if $(TORCH_INDEX),--build-arg TORCH_INDEX=$(TORCH_INDEX)) --tag linksim .

lint: $(VENV)/.lint-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# PyTorch first: its wheels, most of the download, have left $TMPDIR before the others come. An index of PyTorch's need not
# have the versions of constraints.txt of what it depends on: that comes from the usual one.
$(VENV)/.torch-installed:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "linksim needs Python 3.11, 3.12 or 3.13, got $$($(PYTHON) --version). Use make PYTHON=python3.11 ..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch torchvision $(if $(TORCH_INDEX),--no-deps --index-url $(TORCH_INDEX))
	@touch $@

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/.torch-installed
	$(PIP) --editable .
	@touch $@

$(VENV)/.tests-installed: pyproject.toml constraints.txt | $(VENV)/.torch-installed
	$(PIP) --editable ".[test]"
	@touch $@ $(VENV)/.installed

# Chromium of the machine; else that of the distribution, else that of Playwright; without any the tests skip themselves.
$(VENV)/.browser-installed: pyproject.toml constraints.txt | $(VENV)/.torch-installed
	$(PIP) --editable ".[test,browser,demo]"
	@command -v chromium || command -v chromium-browser || command -v google-chrome || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get && apt-get update -q && apt-get install -y -q chromium; } || \
	  $(BIN)/python -m playwright install chromium || echo "no Chromium can be installed: the browser tests skip themselves"
	@touch $@ $(VENV)/.tests-installed $(VENV)/.installed

$(VENV)/.tensorflow-installed: pyproject.toml constraints.txt | $(VENV)/.torch-installed
	$(PIP) --editable ".[test,tensorflow]"
	@touch $@ $(VENV)/.tests-installed $(VENV)/.installed

$(VENV)/.docs-installed: pyproject.toml constraints.txt | $(VENV)/.torch-installed
	$(PIP) --editable ".[docs,test]"
	@touch $@ $(VENV)/.tests-installed $(VENV)/.installed

$(SIONNA1)/.installed: tests/sionna1/requirements.txt
	$(PYTHON) -m venv $(SIONNA1)
	$(SIONNA1)/bin/python -m pip install --quiet --requirement $<
	@touch $@

$(LOWEST)/.installed: pyproject.toml
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet uv
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct --editable ".[test]"
	@touch $@

$(VENV)/.lint-installed: pyproject.toml constraints.txt | $(VENV)/.torch-installed
	$(PIP) --editable ".[test,dev]"
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) $(SIONNA1) $(LOWEST) build dist *.egg-info docs/_build docs/reference/generated
