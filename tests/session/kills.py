"""Kill a training again and again at random moments: `python tests/session/kills.py --kills 100`.

Each run is started, killed (SIGKILL: no process hears of it), resumed and killed again until it ends, and must then be
the same to the bit as one that was left alone: weights, moments, averages, log, pictures, model. Early on the
guard goes back with other settings. Then comes the next run. The test suite does the same, shorter.
"""

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

TESTS = Path(__file__).parent.parent
for place in (TESTS, TESTS.parent / "benchmarks"):
    sys.path.append(str(place))

import ganloom
from comparison import assert_same_run
from conftest import tiny_config
from ganloom.runs import RunFolder

# D learns nothing until the guard gives it the rate of G.
LONG = {
    "train.length": "12 kimg",
    "log.every": "500 images",
    "sample.every": "2 kimg",
    "checkpoint.every": "1 kimg",
    "evaluate.every": "4 kimg",
    "evaluate.n": 200,
    "guard.every": "1 kimg",
    "guard.n": 128,
    "guard.stalled": "rollback",
    "optimizer.d.lr": 1e-12,
}


class Outcome(NamedTuple):
    kills: int
    finished: int  # runs, each the same as the one that was left alone
    attempts: int  # starts and resumes
    seconds: float  # a run that is left alone takes


def start_or_resume(out: Path, settings: dict[str, Any]) -> None:
    """What a person would do, again and again, in a process of its own."""
    if out.exists():
        ganloom.resume(out, device="cpu")
    else:
        ganloom.train(out=out, device="cpu", settings=settings)


def kill_again_and_again(settings: dict[str, Any], reference: Path, folder: Path, kills: int, seed: int) -> Outcome:
    """At least so many kills, and one run at least that has come to its end. Raises `AssertionError`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ganloom.api.training", "ganloom.synthesis.model", "sklearn.datasets"])
    moments = random.Random(seed)
    began = time.monotonic()
    whole = context.Process(target=start_or_resume, args=(folder / "timed", settings))
    whole.start()
    whole.join()
    duration = time.monotonic() - began
    killed, finished, attempts = 0, 0, 0
    run = folder / "killed-0"
    while killed < kills or finished == 0:
        attempts += 1
        process = context.Process(target=start_or_resume, args=(run, settings))
        process.start()
        process.join(moments.uniform(0, 0.6 * duration) if killed < kills else None)
        if process.is_alive():
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            killed += 1
            continue
        assert process.exitcode == 0, f"attempt {attempts} failed, after {killed} kills"
        assert_same_run(reference, run)
        finished += 1
        shutil.rmtree(run)
        run = folder / f"killed-{finished}"
    return Outcome(killed, finished, attempts, duration)


def main() -> int:
    import machine  # of the benchmarks: it writes results

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    dotted = {key.replace(".", "__"): value for key, value in LONG.items()}
    settings = tiny_config(**dotted).model_dump(mode="json")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ["GANLOOM_CACHE"] = str(folder / "cache")
        reference = folder / "left-alone"
        ganloom.train(out=reference, device="cpu", settings=settings)
        assert [change.reason for change in RunFolder(reference).changes] == ["stalled"]
        outcome = kill_again_and_again(settings, reference, folder, arguments.kills, arguments.seed)
    print(json.dumps(outcome._asdict()))
    machine.write("kills", outcome._asdict() | {"seed": arguments.seed, "settings": LONG}, depth=0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
