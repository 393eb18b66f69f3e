"""A search keeps what it found, goes on after a kill, and refuses what is no setting."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("optuna")

from typer.testing import CliRunner

from edge.errors import ConfigError, SmartbinError, UsageError
from tests.harness import ROOT
from tests.trainer.runs import tiny
from tests.trainer.synthetic import TINY_RECIPE, write_photos
from trainer.cli import app
from trainer.judge import Score
from trainer.recipe import Recipe, read_recipe
from trainer.search import Dial, Report, Search, read_space, write_best

pytestmark = pytest.mark.trainer
DIALS = (Dial("training.lr", 1e-4, 1e-1, log=True), Dial("training.batch", choices=(4, 8)))


def landscape(recipe: Recipe, folder: Path, report: Report) -> float:
    """Best at a rate of 0.01; worse trials look worse from their first epoch on."""
    score = 1 / (1 + abs(recipe.training.lr - 0.01) * 100)
    for epoch in (1, 2, 3):
        report(epoch, Score(score * epoch / 3, 1.0, None))
    return score


def search(tmp_path: Path, dials: tuple[Dial, ...] = DIALS, train: object = landscape) -> Search:
    return Search(
        tiny(),
        dials,
        tmp_path / "search.db",
        train=train,  # type: ignore[arg-type]
        folder=tmp_path / "trials",
        say=lambda text: None,
    )


def test_a_search_finds_and_prunes(tmp_path: Path) -> None:
    """The best of 25 trials is near the top of the landscape; hopeless ones end early."""
    found = search(tmp_path).run(25)
    assert found.best > 0.8
    assert 0.005 < found.recipe.training.lr < 0.02
    assert found.pruned > 0
    assert found.finished + found.pruned == 25
    write_best(found, tmp_path / "best.toml")
    assert read_recipe(tmp_path / "best.toml") == found.recipe


def test_trials_of_before_are_counted(tmp_path: Path) -> None:
    """Asked for as many as there are, a search trains nothing and tells the best."""
    first = search(tmp_path).run(6)

    def never(*args: object) -> float:
        raise AssertionError("a trial was run again")

    assert search(tmp_path, train=never).run(6) == first


KILLED = """
import sys, time
from pathlib import Path
from tests.trainer.test_trainer_search import search
def slow(recipe, folder, report):
    print(recipe.training.lr, flush=True)
    time.sleep(60)
search(Path(sys.argv[1]), train=slow).run(3)
"""


def test_a_killed_trial_comes_again_first(tmp_path: Path) -> None:
    """SIGKILL in a trial: the next start runs those very settings, and no trial is lost."""
    done = search(tmp_path).run(2).finished
    assert done == 2
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert child.stdout is not None
    rate = float(child.stdout.readline())
    os.kill(child.pid, signal.SIGKILL)
    child.wait(10)
    tried = []

    def noted(recipe: Recipe, folder: Path, report: Report) -> float:
        tried.append(recipe.training.lr)
        return 0.5

    found = search(tmp_path, train=noted).run(4)
    assert tried[0] == pytest.approx(rate)
    assert (found.finished + found.pruned, found.failed) == (4, 1)


def test_a_search_of_another_space_is_refused(tmp_path: Path) -> None:
    """Trials of one space say nothing of another: the file is left alone."""
    search(tmp_path).run(1)
    with pytest.raises(UsageError, match="another recipe or space"):
        search(tmp_path, dials=DIALS[:1])


def test_a_file_that_is_no_search_is_one_sentence(tmp_path: Path) -> None:
    """A storage that SQLite cannot open is named."""
    (tmp_path / "search.db").write_bytes(b"not a database" * 100)
    with pytest.raises(SmartbinError, match=r"search\.db: cannot be opened as a search"):
        search(tmp_path)


def test_the_default_space_is_of_settings() -> None:
    """What is searched without a table are bounded settings of every recipe."""
    assert {"training.lr", "augment.swap_share"} < {dial.key for dial in read_space(None)}


def test_faults_of_a_space_are_told_together(tmp_path: Path) -> None:
    """An unknown setting, a value out of bounds, an empty span, a missing end."""
    path = tmp_path / "space.toml"
    path.write_text(
        '[space."training.rate"]\nlow = 0\nhigh = 1\n'
        '[space."training.lr"]\nlow = 1e-4\nhigh = 50\n'
        '[space."training.batch"]\nlow = 8\nhigh = 8\n'
        '[space."network.family"]\nchoices = ["lite0", "vgg"]\n'
        '[space."network.dropout"]\nlow = 0\n'
    )
    with pytest.raises(ConfigError) as caught:
        read_space(path)
    told = "\n".join(caught.value.faults)
    assert len(caught.value.faults) == 5
    assert "training.rate: no setting of a recipe" in told
    assert "training.lr = 50: not allowed" in told
    assert "training.batch: low must be under high" in told
    assert "network.family = 'vgg'" in told
    assert "network.dropout: give low and high, or choices" in told


def test_the_command_searches_and_writes_a_recipe(tmp_path: Path) -> None:
    """Two real trainings of a second, and the better one's recipe on disk."""
    recipe, space = tmp_path / "tiny.toml", tmp_path / "space.toml"
    recipe.write_text(TINY_RECIPE)
    space.write_text('[space."training.lr"]\nlow = 1e-4\nhigh = 1e-2\nlog = true\n')
    arguments = ["search", "--data", str(write_photos(tmp_path, per_class=4)), "--json"]
    arguments += ["--recipe", str(recipe), "--space", str(space), "--trials", "2"]
    arguments += ["--storage", str(tmp_path / "s.db"), "--best", str(tmp_path / "best.toml")]
    arguments += ["--run", str(tmp_path / "trials"), "--cache", str(tmp_path / "cache")]
    started_s = time.monotonic()
    result = CliRunner().invoke(app, [*arguments, "--device", "cpu"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout.splitlines()[-1])
    assert told["finished"] == 2
    assert read_recipe(tmp_path / "best.toml").training.epochs == 3
    assert time.monotonic() - started_s < 60
