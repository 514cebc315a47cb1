# Set-up and the main jobs; `make` alone says which. What stands behind `##` is their help.
VENV ?= .venv##         the environment, made where it is not there; a fresh one takes 6 GB
PYTHON ?= python3##     that makes it
PROFILE ?=##            smoke, cpu, reference or gpu; empty: gpu where CUDA is there, else cpu
SET ?= core##           of runs: core, study or all
RUNS ?=##               names of runs, instead of a set: RUNS="UNet ResNet18"
DATASET ?=##            of your own, such as lits or folder; empty: the phantom
DATA_DIR ?=##           where it lies
EXECUTOR ?=##           slurm: every run is a job of the cluster
NAMES ?=##              of benchmarks, for make bench; empty: all
CORES ?= $(shell getconf _NPROCESSORS_ONLN)##            for all runs together; the machine's
GPUS ?= $(shell nvidia-smi --list-gpus 2>/dev/null | wc -l)##             for all runs together; the machine's
GPUS_SHARE ?= 1##        runs that share a GPU; a small network leaves a large one idle
export GPUS_SHARE
# Several runs side by side get more out of the cores than one after the other on all of them.
THREADS ?= $(if $(filter 1,$(words $(RUNS))),$(CORES),$(shell n=$$(($(CORES) / 2)); echo $$((n < 1 ? 1 : n > 4 ? 4 : n))))##          of one run; all for a single run, else half of them, at most 4
# A run waits for its cores and its GPU here, or in the queue of a cluster.
WHERE = $(if $(EXECUTOR),--workflow-profile profiles/$(EXECUTOR),--cores $(CORES) --resources gpu=$(shell echo $$(($(GPUS) * $(GPUS_SHARE)))))
BIN = $(VENV)/bin
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: help run reference test lab bench readme architecture site handout test-quick

help:## this page
	@echo "make TARGET [VARIABLE=value ...]"; echo; echo "Targets"
	@sed -n 's/^\([a-z-]*\):[^#=]*## *\(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-16s%s\n", $$1, $$2}'
	@echo; echo "Variables"
	@sed -n 's/^\([A-Z_]*\) ?= *\(.*\)## *\(.*\)/  \1|\2|\3/p' $(MAKEFILE_LIST) \
	  | awk -F'|' '{value = $$2 ~ /^[a-z0-9.]+$$/ ? " (" $$2 ")" : ""; printf "%-16s%s%s\n", $$1, $$NF, value}'

# What people run goes to runs/, which git ignores.
run: $(VENV)/.installed## the course in batch, into runs/: data, then each run through papermill
	profile="$(PROFILE)"; \
	[ -n "$$profile" ] || profile=$$(python -c "import torch; print('gpu' if torch.cuda.is_available() else 'cpu')"); \
	exec python -m liverutils.runs.batch $(WHERE) --keep-going --rerun-incomplete --quiet rules host \
	  --config profile=$$profile set=$(SET) runs="$(RUNS)" dataset="$(DATASET)" \
	  data_dir="$(DATA_DIR)" threads=$(THREADS) gpus=$(GPUS) reference=$(REFERENCE) \
	  cores=$(if $(EXECUTOR),$(THREADS),$(CORES))

reference:## for maintainers: make logs/ and images_gallery/ anew, which is what make run compares with
	$(MAKE) run PROFILE=reference REFERENCE=yes

test: $(VENV)/.installed## all tests
	ruff check .
	ruff format --check .
	mypy
	python -m pytest --numprocesses auto --dist worksteal

lab: $(VENV)/.installed## JupyterLab on the start notebook
	jupyter lab notebooks/00_start.ipynb

bench: $(VENV)/.installed## measure speed and memory, into logs/bench/
	liverutils bench $(NAMES)

readme: $(VENV)/.installed## write the README's tables from logs/
	python -m liverutils.course.readme
	python -m liverutils.course.model_card
	python -m tests.benchmarks.summary

architecture: $(VENV)/.installed## draw docs/architecture.svg from the imports
	python -m liverutils.course.architecture

handout: $(VENV)/.installed## notebooks without solutions, whose checks note their verdicts, in build/handout
	python -m liverutils.course.handout

test-quick: $(VENV)/.installed## style and the quick tests, in less than three minutes
	ruff check .
	ruff format --check .
	python -m pytest --numprocesses auto --dist worksteal -m "not slow"

site: $(VENV)/.installed## build the course as web pages in build/site, without a network
	python -m liverutils.course.site

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
