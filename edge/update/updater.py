"""Walks a bin from one model to the next, in a thread of its own; the loop only looks in.

wanted -> fetch -> store -> open -> canaries -> shadow on real items -> trial -> confirmed. Whatever
fails leaves the model that runs, or brings the last good one back. The last good one also has a say
in shadow: a model that repairs a bad one differs from it, and agrees with the one before.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from edge.bundle import Bundle
from edge.errors import SmartbinError
from edge.limits import give_back_memory
from edge.priority import give_way
from edge.update.candidate import Candidate, examined, last_good_of
from edge.update.checks import (
    check_bundle,
    check_clock,
    check_made,
    check_step,
    open_candidate,
)
from edge.update.errors import UpdateError
from edge.update.rollout import Wish
from edge.update.shadow import Beside, Trial, worse_beside, worse_on_trial
from edge.update.start import bundle_before
from edge.update.steps import Judging, Note, Plan, Swap
from edge.update.store import Entry, ModelStore
from edge.update.watched import POLL_S, Observed, WatchedItems
from edge.values import Crop, Decision

if TYPE_CHECKING:  # python-tuf is loaded when an update is wished for
    from edge.update.repository import Repository

log = logging.getLogger(__name__)


class Updater:
    """`want`, `observe`, `swap` and `notes` belong to the loop; all else to the thread."""

    def __init__(
        self,
        *,
        store: ModelStore,
        source: Callable[[Callable[[str], None]], Repository],
        fallback: Callable[[], Bundle],
        running: Swap,
        judge: Judging,
        plan: Plan,
        step: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._store, self._source, self._fallback = store, source, fallback
        self._running, self._judge, self._plan, self._step = running, judge, plan, step
        self._items = WatchedItems(wanted=store.state.trial)
        self._notes: queue.Queue[Note] = queue.Queue()
        self._lock = threading.Lock()  # guards _wish, _wish_new, _swap
        self._wish: Wish | None = None
        self._wish_new = False
        self._swap: Swap | None = None
        # Of the trial that goes on, whatever is wished meanwhile; None: none does.
        self._trial: Trial | None = _resumed(store) if self._on_trial else None
        self._last_failure: tuple[Wish | None, str] | None = None  # told once, tried for ever
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="update", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def close(self, timeout_s: float = 1.0) -> None:
        """End; what is half done is done again at the next start."""
        self._stop.set()
        self._thread.join(timeout_s)

    def want(self, wish: Wish | None) -> None:
        """This version, by command or by the group's wish; None: nothing is wished."""
        with self._lock:
            self._wish, self._wish_new = wish, True

    def observe(self, crops: Sequence[Crop], decision: Decision) -> None:
        """What the network saw of an item and what became of it; never waits."""
        self._items.put(crops, decision)

    def swap(self) -> Swap | None:
        """The model to take over now, once."""
        with self._lock:
            taken, self._swap = self._swap, None
        return taken

    def notes(self) -> Iterator[Note]:
        """What has happened since the last call."""
        while True:
            try:
                yield self._notes.get_nowait()
            except queue.Empty:
                return

    @property
    def _on_trial(self) -> bool:
        state, running = self._store.state, self._running.bundle
        return (
            state.trial and state.current is not None and state.current.version == running.version
        )

    def _work(self) -> None:
        if self._plan.threads == 1:  # else the network's own threads would inherit it
            give_way()
        while not self._stop.is_set():
            wish = self._taken_wish()
            try:
                if wish is not None:
                    self._follow(wish)
                elif self._trial is not None:
                    self._try_out(self._trial)
                else:
                    self._stop.wait(POLL_S)
            except SmartbinError as error:
                self._failed(wish, error)
            except Exception as error:  # the thread's outermost loop: the daemon must go on
                log.exception("update: a fault of the program")
                self._tell("failed", self._meant(wish), f"a fault of the program ({error})")
                self._pause()

    def _taken_wish(self) -> Wish | None:
        with self._lock:
            if not self._wish_new:
                return None
            self._wish_new = False
            return self._wish

    def _meant(self, wish: Wish | None) -> int:
        return wish.version if wish else self._running.bundle.version

    def _failed(self, wish: Wish | None, error: SmartbinError) -> None:
        lasting = wish is not None and isinstance(error, UpdateError) and error.lasting
        if wish is not None and lasting:
            self._refuse(wish.version, str(error))
            self._tell("refused", wish.version, str(error))
            return
        if self._last_failure != (wish, str(error)):
            self._last_failure = wish, str(error)
            self._tell("failed", self._meant(wish), str(error))
        else:
            log.warning("model %s: again: %s", self._meant(wish), error)
        self._pause()
        with self._lock:  # a newer wish goes before the old one's repetition
            if wish is not None and not self._wish_new and self._wish == wish:
                self._wish_new = True

    def _refuse(self, version: int, reason: str) -> None:
        known = version in self._store.state.refused
        if known or version <= self._running.bundle.version:
            return
        try:
            self._store.refuse(version, reason)
        except UpdateError as error:  # then it is refused again after a restart
            log.warning("%s", error)

    def _pause(self) -> None:
        """Before the next attempt, less where something else is wished; bins never ask in step."""
        until_s = time.monotonic() + self._plan.retry_s * random.uniform(0.7, 1.3)
        while time.monotonic() < until_s and not self._wish_new:
            if self._stop.wait(min(POLL_S, self._plan.retry_s)):
                return

    def _follow(self, wish: Wish) -> None:
        if self._running.bundle.version in wish.withdrawn:
            self._go_back("withdrawn by the operator")
        if wish.version == self._running.bundle.version or wish.version in wish.withdrawn:
            return
        check_step(wish.version, self._running.bundle, self._store.state.refused)
        check_clock(self._running.bundle, time.time())
        entry = self._fetched(wish.version)
        candidate = self._checked(self._store.load(entry), wish.version)
        self._step("shadow")
        tally = self._shadow(candidate)
        if tally is None or self._wish_new:
            return  # another wish came, perhaps its withdrawal, or the end
        self._step("start the trial")
        reason = _passed(tally)
        self._store.start_trial(
            entry, reason, abstained_before=tally.abstained_before, items_before=tally.items
        )
        self._trial = _resumed(self._store)
        bundle = candidate.bundle
        self._hand_over(Swap(bundle, candidate.classifier, f"version {bundle.version} on trial"))
        self._tell("swapped", bundle.version, reason)

    def _checked(self, bundle: Bundle, version: int) -> Candidate:
        """Opened, and shown the canaries; raises UpdateError."""
        check_made(bundle, time.time())
        check_bundle(bundle, version, self._running.bundle)
        last_good = last_good_of(
            self._store, self._running.bundle, self._fallback, self._plan.threads
        )
        return examined(
            bundle,
            running=self._running.classifier,
            last_good=last_good,
            threads=self._plan.threads,
            folders=self._plan.canaries,
            step=self._step,
        )

    def _fetched(self, version: int) -> Entry:
        repository = self._source(self._step)
        release = repository.release(self._plan.name, version)
        files = repository.fetch(release)
        self._store.clean()  # versions of before that nothing names
        entry = self._store.add(release.version, release.name, files, self._step)
        self._tell("fetched", release.version, "signature holds")
        return entry

    def _shadow(self, new: Candidate) -> Beside | None:
        """Compare on real items; raises UpdateError where the new model is worse."""
        tally = Beside()
        for crops, decision in self._observed(self._plan.shadow_items):
            mine = _label(self._judge(new.bundle, new.classifier, crops))
            other = _label(decision)
            witness = new.last_good if None not in (mine, other) and mine != other else None
            backed = witness is not None and _label(self._judge(*witness, crops)) == mine
            tally = tally.with_item(mine, other, backed=backed)
            reason = worse_beside(tally, new.expected)
            if reason:
                raise UpdateError(f"version {new.bundle.version}: {reason}", lasting=True)
        return tally if tally.items >= self._plan.shadow_items else None

    def _try_out(self, tally: Trial) -> None:
        """It runs now; back to the last good one if it is worse. Goes on after another wish."""
        for _, decision in self._observed(self._plan.trial_items - tally.items):
            tally = tally.with_item(sorted_=decision.outcome == "sorted")
            self._trial = tally
            reason = worse_on_trial(tally)
            if reason:
                self._go_back(f"on trial it {reason}")
                return
        if tally.items >= self._plan.trial_items:
            self._step("confirm")
            self._store.confirm(f"after {tally.items} items on trial")
            self._trial = None
            give_back_memory()  # of the network before, which nobody holds any more
            self._tell("confirmed", self._running.bundle.version, self._store.state.note)

    def _observed(self, count: int) -> Iterator[Observed]:
        """`count` items as they come; ends early at another wish and at the end."""
        return self._items.take(count, lambda: self._stop.is_set() or self._wish_new)

    def _go_back(self, reason: str) -> None:
        left, state = self._running.bundle.version, self._store.state
        if state.current is None or state.current.version != left:
            self._tell("failed", left, f"{reason}; no other model is there to go back to")
            return
        self._step("roll back")
        bundle = bundle_before(self._store, self._fallback, reason)
        self._trial = None
        classifier = open_candidate(bundle, self._plan.threads)
        self._hand_over(Swap(bundle, classifier, f"version {left}: {reason}"))
        self._tell("rolled_back", left, f"{reason}; {bundle.model_id} runs again")

    def _hand_over(self, swap: Swap) -> None:
        self._running = swap
        with self._lock:
            self._swap = swap

    def _tell(self, phase: str, version: int | None, reason: str) -> None:
        log.log(
            logging.WARNING if phase in ("refused", "failed", "rolled_back") else logging.INFO,
            "model %s %s: %s",
            version,
            phase,
            reason,
        )
        self._notes.put(Note(phase, version, reason))


def _resumed(store: ModelStore) -> Trial:
    """A trial at its start, which is measured by what the model before was not sure of."""
    state = store.state
    return Trial(items_before=state.items_before, abstained_before=state.abstained_before)


def _passed(tally: Beside) -> str:
    """What shadow has shown, for the record."""
    said = f"after {tally.items} items in shadow"
    if tally.backed:
        said += f"; on {tally.backed} it differs from the running model and not from the last good"
    return said


def _label(decision: Decision) -> str | None:
    return decision.label if decision.outcome == "sorted" else None
