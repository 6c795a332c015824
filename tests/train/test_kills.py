"""SIGKILL at random moments: while saving and while training.

Each test runs one process that imports everything and forks what is killed, so that a kill costs
no import. That process never trains itself: autograd's threads do not survive a fork.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import gat
from gat.train import checkpoint

Kept = Callable[[Path], dict[str, Any]]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forks, as POSIX has them")


def run(code: str, *arguments: str) -> list[int]:
    """The numbers a Python process prints."""
    environment = {**os.environ, "PYTHONPATH": str(Path(gat.__file__).parents[1])}
    command = [sys.executable, "-W", "ignore", "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    return [int(number) for number in done.stdout.split()]


def same_tensors(first: Path, second: Path) -> bool:
    one, two = checkpoint.load(first).tensors, checkpoint.load(second).tensors
    assert one.keys() == two.keys()
    return all(torch.equal(one[name], two[name]) for name in one)


SAVES = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from gat.train import checkpoint
from gat.train.checkpoint import Checkpoint

torch.set_num_threads(1)
folder, kills = Path(sys.argv[1]), int(sys.argv[2])

def save(number):
    tensors = {"a": torch.full((20_000,), number), "b/c": torch.tensor(number)}
    checkpoint.save(folder, Checkpoint(tensors, {"n": number}))

began = time.monotonic()
for number in range(10):
    save(number)
seconds = (time.monotonic() - began) / 10
random.seed(0)
strays = 0
for _ in range(kills):
    ready, started = os.pipe()
    child = os.fork()
    if not child:
        os.write(started, b"1")
        while True:
            number += 1
            save(number)
    os.read(ready, 1)
    time.sleep(random.uniform(0, 3 * seconds))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(ready), os.close(started)
    found = checkpoint.load(folder)
    numbers = {found.meta["n"], int(found.tensors["b/c"]), *found.tensors["a"].tolist()}
    assert len(numbers) == 1, f"parts of several checkpoints: {numbers}"
    assert number <= found.meta["n"], "an older checkpoint has come back"
    number = found.meta["n"]
    strays += len(checkpoint.clean(folder))
print(number, strays)
"""


def test_sigkill_while_saving_50_times(tmp_path: Path) -> None:
    last, strays = run(SAVES, str(tmp_path), "50")
    assert last > 9, "no save was ever completed under fire; the test shows nothing"
    assert strays > 0, "no kill fell within a save; the test shows nothing"
    assert checkpoint.load(tmp_path).meta == {"n": last}
    assert len(list(tmp_path.iterdir())) == 2


KILLS = """
import json, os, random, signal, sys, time
from pathlib import Path
import torch
import torch_geometric, gat.models
from gat.data import load
from gat.train import TrainConfig, train, versions

torch.set_num_threads(1)
folder, kills = Path(sys.argv[1]), int(sys.argv[2])
task, _ = load("karate"), versions()
config = TrainConfig(
    epochs=40, device="cpu", data={"name": "karate"},
    stopping={"patience": 0}, checkpoint={"every_epochs": 7},
)

def start(name):
    child = os.fork()
    if not child:
        try:
            train(config, folder / name, task=task, resume=True)
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
    return child

def status(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

began = time.monotonic()
assert status(start("whole")) == 0
seconds = time.monotonic() - began
random.seed(1)
killed = runs = 0
while killed < kills:
    runs += 1
    for _ in range(5):
        child = start(f"killed{runs}")
        time.sleep(random.uniform(0, seconds / 2))
        os.kill(child, signal.SIGKILL)
        killed += status(child) == -signal.SIGKILL
    assert status(start(f"killed{runs}")) == 0
print(killed, runs)
"""


def test_sigkill_at_20_random_moments_loses_no_run(kept: Kept, tmp_path: Path) -> None:
    killed, runs = run(KILLS, str(tmp_path), "20")
    assert killed >= 20
    expected = kept(tmp_path / "whole")
    assert [line["epoch"] for line in expected["log"]] == list(range(1, 41))
    for number in range(1, runs + 1):
        folder = tmp_path / f"killed{number}"
        assert kept(folder) == expected
        assert same_tensors(folder, tmp_path / "whole")
        assert not list(folder.glob(".*.tmp"))
        assert len(list(folder.glob("checkpoint-*.safetensors"))) == 1
        sessions = json.loads((folder / "versions.json").read_text())["sessions"]
        assert len(sessions) >= 2
