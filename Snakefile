# The course in batch: data, then each run of notebooks/runs.yaml through papermill.
# Options, as `--config key=value`: profile, set, runs, dataset, data_dir. `make run` passes them.
import json
import shlex
import sys

from liverutils.catalogue import choose, on_data, read_catalogue
from liverutils.datasets.phantom import COHORTS
from liverutils.errors import BadInput

profile = config.get("profile") or "cpu"
dataset = config.get("dataset")
try:
    runs = read_catalogue("notebooks/runs.yaml", profile)
    chosen = [run.name for run in choose(runs, config.get("set"), config.get("runs"))]
except BadInput as error:
    sys.exit(f"liverutils: {error}")
if dataset:
    runs = {name: on_data(run, dataset, config["data_dir"]) for name, run in runs.items()}

DONE = f"build/done/{profile}/{dataset or 'own'}"


def cohort(run):
    """The phantom's files, where the run reads a phantom."""
    name = run.parameters.get("dataset")
    return [f"data/{name}/raw"] if name in COHORTS else []


rule all:
    input:
        expand("{done}/{run}", done=DONE, run=chosen),


rule phantom:
    output:
        directory("data/{cohort}/raw"),
    threads: workflow.cores
    shell:
        "liverutils phantom --cohort {wildcards.cohort} --out {output}"


for run in runs.values():

    rule:
        name:
            run.name
        input:
            notebook=str(run.notebook),
            cohort=cohort(run),
            after=[f"{DONE}/{name}" for name in run.after],
        output:
            touch(f"{DONE}/{run.name}"),
        log:
            # Under `log`, so that a failed run keeps its executed notebook and the traceback.
            notebook=str(run.executed),
        params:
            values=shlex.quote(json.dumps(run.parameters)),
            seconds=int(60 * run.minutes),
        resources:
            gpu=1,
        threads: workflow.cores
        shell:
            "papermill {input.notebook} {log.notebook} --parameters_yaml {params.values}"
            " --execution-timeout {params.seconds} --no-progress-bar --kernel python3"
