# The course in batch: data, then each run of notebooks/runs.yaml through papermill.
# Options, as `--config key=value`: profile, set, runs, dataset, data_dir, threads, cores, gpus, and
# reference, with which the runs write the course's reference. `make run` and `make reference` pass them.
import shlex
import sys

from liverutils.runs import check_dataset, choose, into_reference, on_data, read_catalogue
from liverutils.phantom import COHORTS
from liverutils.errors import BadInput

profile = config.get("profile") or "cpu"
dataset = config.get("dataset")
try:
    runs = read_catalogue("notebooks/runs.yaml", profile)
    chosen = [run.name for run in choose(runs, config.get("set"), config.get("runs"))]
    if dataset:
        check_dataset(dataset, config.get("data_dir"))
except BadInput as error:
    sys.exit(f"liverutils: {error}")
if config.get("reference"):
    runs = {name: into_reference(run) for name, run in runs.items()}
if dataset:
    runs = {name: on_data(run, dataset, config["data_dir"]) for name, run in runs.items()}

INTO = "-into-logs" if config.get("reference") else ""
DONE = f"build/done/{profile}{INTO}/{dataset or 'own'}"
THREADS = int(config.get("threads") or workflow.cores)  # of a run
# Full size asks for a GPU; the reference takes one where there is one.
GPU = int(profile == "gpu" or (profile == "reference" and int(config.get("gpus") or 0) > 0))
ALL_THREADS = int(config.get("cores") or THREADS)  # of what all runs wait for


def raw(cohort):
    """The files of a data set: a phantom's are made, anyone's own lie ready."""
    return f"data/{cohort}/raw" if cohort in COHORTS else config["data_dir"]


def data(run):
    """What the run reads: a slice store, or the files themselves, or nothing."""
    if "dataset" not in run.declared:
        return []
    if {"view", "image_size"} <= run.declared.keys():
        return f"data/{run.value('dataset')}/{run.value('view')}-{run.value('image_size')}"
    return raw(run.value("dataset"))


rule all:
    input:
        expand("{done}/{run}", done=DONE, run=chosen),


rule phantom:
    output:
        directory("data/{cohort}/raw"),
    threads: ALL_THREADS
    shell:
        "exec python -m liverutils.parallel"
        " liverutils phantom --cohort {wildcards.cohort:q} --out {output:q} --workers {threads}"


rule store:
    input:
        lambda wildcards: raw(wildcards.cohort),
    output:
        directory("data/{cohort}/{view}-{size}"),
    wildcard_constraints:
        view="axial|coronal|sagittal",
    threads: ALL_THREADS
    shell:
        "exec python -m liverutils.parallel"
        " liverutils prepare {wildcards.cohort:q} {input:q} --out {output:q}"
        " --view {wildcards.view:q} --size {wildcards.size:q} --workers {threads}"


for run in runs.values():

    rule:
        name:
            run.name
        input:
            notebook=str(run.notebook),
            data=data(run),
            after=[f"{DONE}/{name}" for name in run.after if name in chosen],
        output:
            touch(f"{DONE}/{run.name}"),
        log:
            # Under `log`, so that a failed run keeps its executed notebook and the traceback.
            notebook=str(run.executed),
        params:
            values=shlex.quote(run.as_yaml),
            seconds=int(60 * run.minutes),
        resources:
            gpu=GPU,
            runtime=int(run.minutes) + 10,
        threads: THREADS
        shell:
            # `exec`, so that the shell does not stand between the run and what must end it.
            "exec python -m liverutils.runs.gpu papermill {input.notebook:q} {log.notebook:q}"
            " --parameters_yaml {params.values} --execution-timeout {params.seconds}"
            " --no-progress-bar --kernel python3"
