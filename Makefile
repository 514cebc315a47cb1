# Set-up and the main jobs. Variables: VENV, PROFILE (smoke, cpu, gpu), SET (core, all), RUNS,
# DATASET, DATA_DIR, CORES.
VENV ?= .venv
PYTHON ?= python3
SET ?= core
CORES ?= all
BIN = $(VENV)/bin
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: run test lab bench clean

run: $(VENV)/.installed
	profile="$(PROFILE)"; \
	[ -n "$$profile" ] || profile=$$(python -c "import torch; print('gpu' if torch.cuda.is_available() else 'cpu')"); \
	snakemake --cores $(CORES) --keep-going --rerun-incomplete --quiet rules host \
	  --config profile=$$profile set=$(SET) runs="$(RUNS)" dataset="$(DATASET)" data_dir="$(DATA_DIR)"

test: $(VENV)/.installed
	ruff check .
	ruff format --check .
	python -m pytest

lab: $(VENV)/.installed
	jupyter lab notebooks

bench: $(VENV)/.installed
	python -m tests.benchmarks

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
