"""Several processes make one training: the same batches, the same gradients, one who writes."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edge.errors import UsageError  # noqa: E402
from tests.harness import ROOT, free_port  # noqa: E402
from tests.trainer.synthetic import TINY_RECIPE, write_photos  # noqa: E402
from trainer.checkpoint import load_trained  # noqa: E402
from trainer.parallel import ALONE, World, world  # noqa: E402

pytestmark = pytest.mark.trainer


def test_shares_are_equal_and_make_up_the_batch() -> None:
    """Every picture of a batch is in exactly one process's share."""
    batch = np.arange(12)
    shares = [World(rank, 3).rows(batch) for rank in range(3)]
    assert [len(share) for share in shares] == [4, 4, 4]
    assert sorted(np.concatenate(shares)) == batch.tolist()


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    """The sentence names a batch that can."""
    with pytest.raises(UsageError, match=r"multiple of the 2 processes.*training\.batch=32"):
        World(0, 2).check_batch(33)
    ALONE.check_batch(33)


def test_alone_nothing_is_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without torchrun's environment a training has no group and writes."""
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with world("cpu") as found:
        assert (found.size, found.writes, found.from_first(3)) == (1, True, 3)
        assert not torch.distributed.is_initialized()


def torchrun(processes: int) -> list[str]:
    """The words before a script or -m; alone they leave torchrun out."""
    if processes == 1:
        return [sys.executable]
    port = str(free_port())
    start = [sys.executable, "-m", "torch.distributed.run", "--master-port", port]
    return [*start, "--nproc-per-node", str(processes)]


def run(command: list[str]) -> str:
    """What it wrote to standard output; all it wrote to the other where it failed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    environment |= {"GLOO_SOCKET_IFNAME": "lo", "PYTHONFAULTHANDLER": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def train(folder: Path, name: str, recipe: Path, processes: int) -> tuple[list[float], Path]:
    """Validation accuracies of a training's epochs, and its best checkpoint."""
    start = [*torchrun(processes), "-m"]
    if processes > 1:
        start += ["--"]  # or torchrun guesses at our --run
    command = [*start, "trainer.cli", "distill", "--recipe", str(recipe), "--device", "cpu"]
    command += ["--data", str(folder / "images"), "--run", str(folder / name)]
    command += ["--masks", str(folder / "masks"), "--cache", str(folder / f"{name}-cache")]
    run(command)
    with (folder / name / "training_losses.csv").open(newline="") as file:
        rows = [float(row["val_accuracy"]) for row in csv.DictReader(file)]
    return rows, folder / name / "best.pt"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    """torchrun with gloo: two processes learn what one learns, a line an epoch is written once."""
    write_photos(tmp_path, per_class=24)
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(TINY_RECIPE.replace("epochs = 3", "epochs = 16"))
    one, best_one = train(tmp_path, "one", recipe, 1)
    two, best_two = train(tmp_path, "two", recipe, 2)
    assert len(one) == len(two) == 16
    assert max(one) >= 0.9
    assert abs(max(one) - max(two)) <= 0.12  # 12 photos: one of them, and a little
    assert abs(np.mean(one[-4:]) - np.mean(two[-4:])) <= 0.15
    assert load_trained(best_two).classes == load_trained(best_one).classes


GRADIENTS = """
import json
from pathlib import Path
import numpy as np
import torch
from trainer.parallel import world

def gradient(here):
    torch.manual_seed(0)
    net = torch.nn.Linear(4, 3)
    views, truth = torch.randn(8, 4), torch.arange(8) % 3
    rows = torch.from_numpy(here.rows(np.arange(8)))
    model = here.wrap(net)
    model.itself = [model]  # as a training's objects refer to one another
    torch.nn.functional.cross_entropy(model(views[rows]), truth[rows]).backward()
    return here.from_first(net.weight.grad.tolist())

with world("cpu") as here:
    found = gradient(here)
threads = [(task / "comm").read_text() for task in Path("/proc/self/task").iterdir()]
if here.rank == here.size - 1:
    print(json.dumps([found, [name for name in threads if "gloo" in name]]))
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_gradient_is_that_of_the_whole_batch(tmp_path: Path) -> None:
    """Two processes with half the batch each, and one with all of it, descend alike; none of
    gloo's threads goes on into the end of the process."""
    (tmp_path / "gradients.py").write_text(GRADIENTS)
    found = []
    for processes in (1, 2):
        said = run([*torchrun(processes), str(tmp_path / "gradients.py")])
        gradient, threads = json.loads(said.splitlines()[-1])
        found.append(torch.tensor(gradient))
        assert threads == []
    assert torch.allclose(found[0], found[1], atol=1e-6)
