"""How long HEFT takes to plan, in SAGA (PyPI `anrg-saga`, Python) and here, on the very same graphs.

    cargo build --release -p isochrone-policies --example plan-file
    python -m venv saga && saga/bin/pip install anrg-saga
    saga/bin/python benches/peers/saga_heft.py --tasks 1000 --devices 16 --plan-file target/release/examples/plan-file

`--here-only` leaves SAGA out, for graphs on which it would take hours.

Only planning counts, the graph and the network being made. Makespans are printed too: they differ where averages are
taken or ties are broken differently, never by much. Costs are such that all times are whole in both.
"""

import argparse
import json
import random
import statistics
import subprocess
import tempfile
import time


def instance(tasks, devices, seed):
    """Layers of 20 tasks between a source and a sink; each reads from up to three tasks of the layer before."""
    draws = random.Random(seed)
    edges = []
    for task in range(1, tasks - 1):
        layer = (task - 1) // 20
        first, last = 1 + (layer - 1) * 20, layer * 20
        before = draws.sample(range(first, last + 1), draws.randint(1, 3)) if layer else [0]
        edges += [[one, task, 4 * draws.randint(1, 500_000)] for one in sorted(before)]
    inner = {one for one, _, _ in edges}
    edges += [[task, tasks - 1, 4] for task in range(1, tasks - 1) if task not in inner]
    rates = [[0] * devices for _ in range(devices)]
    for one in range(devices):
        for other in range(one):
            rates[one][other] = rates[other][one] = 1_000_000_000 * draws.choice([1, 2, 4])
    return {
        "work_ns": [8 * draws.randint(100_000, 1_000_000) for _ in range(tasks)],
        "speeds": [draws.choice([1, 2, 4, 8]) for _ in range(devices)],
        "edges": edges,
        "bytes_per_second": rates,
    }


def saga(case, runs):
    """Shortest seconds, and the makespan in nanoseconds."""
    from saga import Network, TaskGraph
    from saga.schedulers.heft import HeftScheduler

    graph = TaskGraph.create(
        [(str(task), float(work)) for task, work in enumerate(case["work_ns"])],
        [(str(one), str(other), float(size)) for one, other, size in case["edges"]],
    )
    places = range(len(case["speeds"]))
    network = Network.create(
        [(str(place), float(speed)) for place, speed in enumerate(case["speeds"])],
        [
            (str(one), str(other), case["bytes_per_second"][one][other] / 1e9)
            for one in places
            for other in range(one)
        ],
    )
    seconds = []
    for _ in range(runs):
        begun = time.perf_counter()
        schedule = HeftScheduler().schedule(network, graph)
        seconds.append(time.perf_counter() - begun)
    return min(seconds), round(schedule.makespan)


def here(case, plan_file, runs):
    """The same, of `plan-file`."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(case, file)
        file.flush()
        command = [plan_file, file.name, "--runs", str(runs)]
        found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return found["shortest_seconds"], found["makespan_ns"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--devices", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--plan-file", required=True)
    parser.add_argument("--here-only", action="store_true")
    options = parser.parse_args()
    ratios = []
    print("tasks devices seed  saga s     here s     ratio  makespan saga / here ms")
    for seed in range(options.seeds):
        case = instance(options.tasks, options.devices, seed)
        ours, makespan = here(case, options.plan_file, 10)
        if options.here_only:
            print(f"{options.tasks:5} {options.devices:7} {seed:4} {'':9} {ours:10.6f} {'':8}  {makespan / 1e6:.3f}")
            continue
        theirs, their_makespan = saga(case, options.runs)
        ratios.append(theirs / ours)
        print(
            f"{options.tasks:5} {options.devices:7} {seed:4} {theirs:9.4f} {ours:10.6f} {ratios[-1]:8.0f}"
            f"  {their_makespan / 1e6:.3f} / {makespan / 1e6:.3f}",
            flush=True,
        )
    if ratios:
        print(f"median ratio {statistics.median(ratios):.0f}")


if __name__ == "__main__":
    main()
