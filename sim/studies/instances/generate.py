"""Makes the WfCommons instances of this folder.

    python3 -m venv venv && venv/bin/pip install wfcommons==1.6 && PYTHONHASHSEED=0 venv/bin/python generate.py .

Structure and the spread of durations and sizes come from WfCommons' recipes, which were learnt from real runs (Coleman and others, "WfCommons: a
framework for enabling scientific workflow research and development", FGCS 2022). Real tasks take seconds to hours, against which no latency
up to 200 ms counts; so all durations of an instance are scaled to a mean of 20 ms, and all sizes to a mean that moves over 1 Gbit/s in
10 ms (communication to computation 0.5 in the mean). What matters is left as it is: the ratios between them.
"""

import json
import os
import pathlib
import random
import sys

import numpy
from wfcommons import WorkflowGenerator
from wfcommons.wfchef import recipes

MEAN_SECONDS = 0.02
MEAN_BYTES = 1_250_000
# Name, recipe, tasks asked for, seed.
INSTANCES = [
    ("blast", recipes.BlastRecipe, 45, 11),
    ("epigenomics", recipes.EpigenomicsRecipe, 50, 12),
    ("genome", recipes.GenomeRecipe, 60, 13),
    ("montage", recipes.MontageRecipe, 70, 14),
    ("soykb", recipes.SoykbRecipe, 98, 15),
]


def scaled(document):
    execution = document["workflow"]["execution"]
    specification = document["workflow"]["specification"]
    runtimes = [task["runtimeInSeconds"] for task in execution["tasks"]]
    factor = MEAN_SECONDS * len(runtimes) / sum(runtimes)
    for task in execution["tasks"]:
        task["runtimeInSeconds"] = max(round(task["runtimeInSeconds"] * factor, 6), 0.0001)
        for key in [key for key in task if key not in ("id", "runtimeInSeconds")]:
            del task[key]
    sizes = [file["sizeInBytes"] for file in specification["files"]]
    factor = MEAN_BYTES * len(sizes) / sum(sizes)
    for file in specification["files"]:
        file["sizeInBytes"] = max(round(file["sizeInBytes"] * factor), 1)
    execution["makespanInSeconds"] = 0
    for key in [key for key in execution if key not in ("makespanInSeconds", "executedAt", "tasks")]:
        del execution[key]
    document["author"] = {"name": "WfCommons", "email": "support@wfcommons.org"}
    document["createdAt"] = execution["executedAt"] = "2026-11-25T00:00:00+00:00"
    return document


def main(folder, instances):
    for name, recipe, tasks, seed in instances:
        random.seed(seed)
        numpy.random.seed(seed)
        workflow = WorkflowGenerator(recipe.from_num_tasks(tasks)).build_workflow()
        path = pathlib.Path(folder) / f"{name}.wfcommons-1.6.json"
        workflow.write_json(path)
        document = scaled(json.loads(path.read_text()))
        path.write_text(json.dumps(document, separators=(",", ":")) + "\n")
        print(name, len(document["workflow"]["execution"]["tasks"]), "tasks", path.stat().st_size, "bytes")


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        sys.exit("set PYTHONHASHSEED=0: the recipes go through sets of names")
    main(sys.argv[1], INSTANCES)
