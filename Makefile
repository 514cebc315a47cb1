# Set-up and the main jobs. Variables: VENV, PROFILE (smoke, cpu, gpu), SET (core, study, all), RUNS,
# DATASET, DATA_DIR, THREADS (of one run), CORES and GPUS (of all together), EXECUTOR (slurm), NAMES
# (of benchmarks).
VENV ?= .venv
PYTHON ?= python3
SET ?= core
CORES ?= $(shell getconf _NPROCESSORS_ONLN)
# Several runs side by side get more out of the cores than one after the other on all of them.
THREADS ?= $(if $(filter 1,$(words $(RUNS))),$(CORES),$(shell n=$$(($(CORES) / 2)); echo $$((n < 1 ? 1 : n > 4 ? 4 : n))))
GPUS ?= $(shell nvidia-smi --list-gpus 2>/dev/null | wc -l)
# A run waits for its cores and its GPU here, or in the queue of a cluster.
WHERE = $(if $(EXECUTOR),--workflow-profile profiles/$(EXECUTOR),--cores $(CORES) --resources gpu=$(GPUS))
BIN = $(VENV)/bin
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: run test lab bench readme

run: $(VENV)/.installed
	profile="$(PROFILE)"; \
	[ -n "$$profile" ] || profile=$$(python -c "import torch; print('gpu' if torch.cuda.is_available() else 'cpu')"); \
	snakemake $(WHERE) --keep-going --rerun-incomplete --quiet rules host \
	  --config profile=$$profile set=$(SET) runs="$(RUNS)" dataset="$(DATASET)" \
	  data_dir="$(DATA_DIR)" threads=$(THREADS) \
	  cores=$(if $(EXECUTOR),$(THREADS),$(CORES))

test: $(VENV)/.installed
	ruff check .
	ruff format --check .
	mypy
	python -m pytest --numprocesses auto --dist worksteal

lab: $(VENV)/.installed
	jupyter lab notebooks

bench: $(VENV)/.installed
	liverutils bench $(NAMES)

readme: $(VENV)/.installed
	python -m liverutils.course.readme
	python -m tests.benchmarks.summary

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
