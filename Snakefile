# The course in batch: data, then each run of notebooks/runs.yaml through papermill.
import json
import shlex
import sys

from liverutils.catalogue import choose, read_catalogue
from liverutils.datasets.phantom import COHORTS
from liverutils.errors import BadInput

profile = config.get("profile", "cpu")
try:
    runs = read_catalogue("notebooks/runs.yaml", profile)
    chosen = choose(runs, config.get("set", "core"), config.get("runs", ""))
except BadInput as error:
    sys.exit(str(error))

given = {key: config[key] for key in ("dataset", "data_dir") if config.get(key)}


def parameters(name):
    """What papermill sets: the catalogue's values, and the data set given on the command line."""
    return runs[name].parameters | {k: v for k, v in given.items() if "dataset" in runs[name].parameters}


def cohort(name):
    """The phantom's files, where the run reads a phantom."""
    dataset = parameters(name).get("dataset")
    return [f"data/{dataset}/raw/patients.csv"] if dataset in COHORTS else []


rule all:
    input:
        [f"logs/.done/{profile}/{run.name}" for run in chosen],


rule phantom:
    output:
        "data/{cohort}/raw/patients.csv",
    threads: workflow.cores
    shell:
        "liverutils phantom --cohort {wildcards.cohort} --out data/{wildcards.cohort}/raw"


rule run:
    input:
        notebook=lambda w: str(runs[w.run].notebook),
        cohort=lambda w: cohort(w.run),
        after=lambda w: [f"logs/.done/{w.profile}/{name}" for name in runs[w.run].after],
    output:
        touch("logs/.done/{profile}/{run}"),
    log:
        # Under `log`, so that a failed run keeps its executed notebook and the traceback in it.
        notebook="logs/notebooks/{run}.ipynb",
    params:
        values=lambda w: shlex.quote(json.dumps(parameters(w.run))),
        seconds=lambda w: int(60 * runs[w.run].minutes),
    resources:
        gpu=1,
    threads: workflow.cores
    shell:
        "papermill {input.notebook} {log.notebook} --parameters_yaml {params.values}"
        " --execution-timeout {params.seconds} --no-progress-bar --kernel python3"
