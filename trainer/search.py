"""A search for better settings of a recipe with Optuna, kept in SQLite so that a kill loses little.

Each trial is a training by the one loop, in a folder named after its settings: a trial that was
killed is queued again and goes on at its last whole epoch. After every epoch a trial that is
worse than the median of the others at that epoch is pruned.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import ConfigError, SmartbinError, UsageError
from trainer.audit_run import save_whole
from trainer.recipe import SECTIONS, Recipe, parse_recipe

if TYPE_CHECKING:
    import optuna

    from trainer.judge import Score

Say = Callable[[str], object]
Report = Callable[[int, "Score"], None]  # an epoch's number and score; may end the trial
Train = Callable[[Recipe, Path, Report], float]  # recipe, folder: the best score, 0..1
# What is searched where no table is given: what moves accuracy most on few pictures.
SPACE = """
[space."training.lr"]
low = 1e-4
high = 3e-3
log = true
[space."training.weight_decay"]
low = 1e-3
high = 0.3
log = true
[space."training.label_smoothing"]
low = 0.0
high = 0.2
[space."augment.mixup_share"]
low = 0.0
high = 1.0
[space."augment.swap_share"]
low = 0.2
high = 0.7
[space."network.dropout"]
low = 0.0
high = 0.5
"""


@dataclass(frozen=True, slots=True)
class Dial:
    """One setting and where it may stand: a span, or `choices`."""

    key: str  # as training.lr
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    choices: tuple[Any, ...] = ()

    def draw(self, trial: optuna.Trial) -> Any:
        """The trial's value of this setting."""
        if self.choices:
            return trial.suggest_categorical(self.key, self.choices)
        if self.whole:
            return trial.suggest_int(self.key, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(self.key, self.low, self.high, log=self.log)


def read_space(path: Path | None) -> tuple[Dial, ...]:
    """A TOML table of settings; the default one without a path. ConfigError tells all faults."""
    where = str(path) if path else "default space"
    try:
        text = path.read_text("utf-8") if path else SPACE
        table = tomllib.loads(text).get("space", {})
    except OSError as error:
        raise UsageError(f"{path}: space cannot be read ({error.strerror})") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{where}: not TOML ({error})"]) from error
    if not table:
        raise UsageError(f'{where}: no [space."SECTION.KEY"] in it, as [space."training.lr"]')
    faults: list[str] = []
    dials = [_dial(key, entry, where, faults) for key, entry in table.items()]
    if faults:
        raise ConfigError(faults)
    return tuple(dial for dial in dials if dial is not None)


def _dial(key: str, entry: Any, where: str, faults: list[str]) -> Dial | None:
    section, _, name = key.partition(".")
    known = SECTIONS.get(section)
    field = getattr(known, "__dataclass_fields__", {}).get(name)
    if field is None:
        faults.append(f"{where}: {key}: no setting of a recipe; name it as training.lr")
        return None
    if not isinstance(entry, dict) or not (
        {"choices"} <= entry.keys() or {"low", "high"} <= entry.keys()
    ):
        faults.append(f"{where}: {key}: give low and high, or choices")
        return None
    if unknown := entry.keys() - {"low", "high", "log", "choices"}:
        faults.append(f"{where}: {key}.{sorted(unknown)[0]}: known are low, high, log, choices")
        return None
    values = entry.get("choices") or [entry["low"], entry["high"]]
    for value in values:
        with suppress(ConfigError):
            parse_recipe("", where=where, overrides={key: value})
            continue
        faults.append(f"{where}: {key} = {value!r}: not allowed in a recipe")
        return None
    if "choices" in entry:
        return Dial(key, choices=tuple(entry["choices"]))
    low, high = float(entry["low"]), float(entry["high"])
    if not low < high or (entry.get("log") and low <= 0):
        faults.append(f"{where}: {key}: low must be under high, and above 0 with log")
        return None
    return Dial(key, low, high, bool(entry.get("log")), str(field.type) == "int")


@dataclass(frozen=True, slots=True)
class Found:
    """What a search has found so far."""

    best: float
    recipe: Recipe
    finished: int
    pruned: int
    failed: int


class Search:
    """A study in one SQLite file; `run` makes its trials as many as asked, earlier ones counted."""

    def __init__(
        self,
        recipe: Recipe,
        dials: tuple[Dial, ...],
        storage: Path,
        *,
        train: Train,
        folder: Path,
        say: Say,
    ) -> None:
        import optuna
        from optuna.trial import TrialState

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._recipe, self._dials, self._train = recipe, dials, train
        self._folder, self._say = folder, say
        self._states, self._pruned = TrialState, optuna.TrialPruned
        self._study = self._open(storage)

    def _open(self, storage: Path) -> optuna.Study:
        import optuna

        storage.parent.mkdir(parents=True, exist_ok=True)
        try:
            study = optuna.create_study(
                storage=f"sqlite:///{storage}",
                study_name=self._recipe.name,
                direction="maximize",
                load_if_exists=True,
                sampler=optuna.samplers.TPESampler(seed=self._recipe.training.seed),
                pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=1),
            )
        except Exception as error:  # SQLAlchemy's and SQLite's many: not a database, read-only
            raise SmartbinError(
                f"{storage}: cannot be opened as a search ({type(error).__name__}); "
                "name another --storage"
            ) from error
        identity = hashlib.sha256(
            (self._recipe.to_toml() + repr(sorted(self._dials, key=lambda d: d.key))).encode()
        ).hexdigest()
        known = study.user_attrs.get("identity")
        if known not in (None, identity):
            raise UsageError(
                f"{storage}: holds a search of another recipe or space; name another --storage"
            )
        study.set_user_attr("identity", identity)
        return study

    def run(self, trials: int) -> Found:
        """Go on until `trials` are finished or pruned in all; returns the best so far."""
        self._requeue()
        while (left := trials - self._count("COMPLETE", "PRUNED")) > 0:
            self._study.optimize(self._trial, n_trials=1, catch=())
            self._say(f"{trials - left + 1} of {trials} trials, best {self._best_text()}")
        return self.found()

    def found(self) -> Found:
        """The best recipe yet; raises SmartbinError where no trial has finished."""
        if not self._count("COMPLETE"):
            raise SmartbinError("search: no trial has finished; ask for more --trials")
        best = self._study.best_trial
        recipe = self._adapted(best.params)
        counts = [self._count(state) for state in ("COMPLETE", "PRUNED", "FAIL")]
        return Found(float(best.value or 0), recipe, *counts)

    def _requeue(self) -> None:
        """A trial that still runs in the file was killed: its settings come again, first."""
        for trial in self._study.get_trials(deepcopy=False, states=(self._states.RUNNING,)):
            self._study.tell(trial.number, state=self._states.FAIL)
            self._study.enqueue_trial(trial.params, skip_if_exists=False)
            self._say(f"trial {trial.number} was killed: it goes on")

    def _trial(self, trial: optuna.Trial) -> float:
        settings = {dial.key: dial.draw(trial) for dial in self._dials}
        recipe = self._adapted(settings)
        name = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:10]

        def watch(epoch: int, score: Score) -> None:
            trial.report(score.rank[0], epoch)
            if trial.should_prune():
                raise self._pruned()

        try:
            return self._train(recipe, self._folder / name, watch)
        except KeyboardInterrupt:
            self._study.enqueue_trial(trial.params, skip_if_exists=False)
            raise

    def _adapted(self, settings: dict[str, Any]) -> Recipe:
        text = self._recipe.to_toml()
        return parse_recipe(text, where=self._recipe.name, overrides=settings)

    def _count(self, *states: str) -> int:
        wanted = tuple(self._states[name] for name in states)
        return len(self._study.get_trials(deepcopy=False, states=wanted))

    def _best_text(self) -> str:
        if not self._count("COMPLETE"):
            return "none yet"
        return f"{self._study.best_value:.2%} by {self._study.best_params}"


def write_best(found: Found, path: Path) -> None:
    """The best recipe as TOML that `--recipe` takes, with a comment of where it comes from."""
    about = (
        f"# {found.best:.2%} on validation (mean of its surfaces), best of {found.finished} "
        f"trials; {found.pruned} more were pruned.\n"
    )
    save_whole(path, (about + found.recipe.to_toml()).encode())
