"""Walks a bin from one model to the next, in a thread of its own; the loop only looks in.

wanted -> fetch -> store -> open -> canaries -> shadow on real items -> trial -> confirmed. Whatever
fails leaves the model that runs, or brings the last good one back.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.bundle import Bundle
from edge.classifier import Classifier
from edge.errors import SmartbinError
from edge.update.checks import canaries_of, check_bundle, check_canaries, check_step, open_candidate
from edge.update.errors import UpdateError
from edge.update.rollout import Wish
from edge.update.shadow import Tally, worse
from edge.update.store import Entry, ModelStore
from edge.values import Decision, Pixels

if TYPE_CHECKING:  # python-tuf is loaded when an update is wished for
    from edge.update.repository import Release, Repository

log = logging.getLogger(__name__)

WAITING_ITEMS = 8  # of the loop, for the thread; more are not compared
POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Plan:
    """What an update has to pass on this bin."""

    name: str  # of the bundle, say student.int8
    threads: int
    shadow_items: int
    trial_items: int
    retry_s: float  # after a failure that may pass
    samples: Path  # folder of the canary pictures


@dataclass(frozen=True, slots=True)
class Swap:
    """A model that the loop is to take over between two items."""

    bundle: Bundle
    classifier: Classifier
    reason: str


@dataclass(frozen=True, slots=True)
class Note:
    """A step worth an event."""

    phase: str  # fetched, swapped, confirmed, refused, rolled_back, failed
    version: int | None
    reason: str


Judging = Callable[[Bundle, Classifier, Sequence[Pixels]], Decision]
Observed = tuple[Sequence[Pixels], Decision]


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
        self._items: queue.Queue[Observed] = queue.Queue(WAITING_ITEMS)
        self._notes: queue.Queue[Note] = queue.Queue()
        self._lock = threading.Lock()  # guards _wish, _wish_new, _swap
        self._wish: Wish | None = None
        self._wish_new = False
        self._swap: Swap | None = None
        self._watching = store.state.trial  # whether items are of use to the thread
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

    def observe(self, crops: Sequence[Pixels], decision: Decision) -> None:
        """What the network saw of an item and what became of it; never waits."""
        if self._watching and crops:
            # Where the thread is behind: a tally needs items, not every item.
            with contextlib.suppress(queue.Full):
                self._items.put_nowait((crops, decision))

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

    def _work(self) -> None:
        if self._store.state.trial:
            self._try_out(Tally())
        while not self._stop.is_set():
            wish = self._taken_wish()
            if wish is None:
                self._stop.wait(POLL_S)
                continue
            try:
                self._follow(wish)
            except SmartbinError as error:
                self._failed(wish, error)
            except Exception as error:  # the thread's outermost loop: the daemon must go on
                log.exception("update: a fault of the program")
                self._tell("failed", wish.version, f"a fault of the program ({error})")

    def _taken_wish(self) -> Wish | None:
        with self._lock:
            if not self._wish_new:
                return None
            self._wish_new = False
            return self._wish

    def _failed(self, wish: Wish, error: SmartbinError) -> None:
        lasting = isinstance(error, UpdateError) and error.lasting
        known = wish.version in self._store.state.refused
        if lasting and not known and wish.version > self._running.bundle.version:
            self._store.refuse(wish.version, str(error))
        self._tell("refused" if lasting else "failed", wish.version, str(error))
        if lasting or self._stop.wait(self._plan.retry_s):
            return
        with self._lock:  # a newer wish goes before the old one's repetition
            if not self._wish_new and self._wish == wish:
                self._wish_new = True

    def _follow(self, wish: Wish) -> None:
        if self._running.bundle.version in wish.withdrawn:
            self._go_back("withdrawn by the operator")
            return
        if wish.version == self._running.bundle.version or wish.version in wish.withdrawn:
            return
        check_step(wish.version, self._running.bundle, self._store.state.refused)
        entry = self._fetched(wish.version)
        candidate = self._store.load(entry)
        check_bundle(candidate, wish.version, self._running.bundle)
        self._step("open")
        classifier = open_candidate(candidate, self._plan.threads)
        self._step("canaries")
        canaries = canaries_of(self._plan.samples, candidate.labels)
        check_canaries(classifier, self._running.classifier, canaries)
        self._step("shadow")
        tally = self._shadow(candidate, classifier)
        if tally is None:
            return  # another wish came, or the end
        self._step("start the trial")
        self._store.start_trial(entry, f"after {tally.items} items in shadow")
        self._hand_over(Swap(candidate, classifier, f"version {candidate.version} on trial"))
        self._tell("swapped", candidate.version, f"after {tally.items} items in shadow")
        self._try_out(Tally(items_before=tally.items, abstained_before=tally.abstained_before))

    def _fetched(self, version: int) -> Entry:
        repository = self._source(self._step)
        offered = repository.releases(self._plan.name)
        release = next((r for r in offered if r.version == version), None)
        if release is None:
            there = ", ".join(str(r.version) for r in offered[-5:]) or "none"
            raise UpdateError(
                f"version {version}: not among the signed releases of {self._plan.name}; "
                f"there are {there}"
            )
        return self._stored(repository, release)

    def _stored(self, repository: Repository, release: Release) -> Entry:
        files = repository.fetch(release)
        entry = self._store.add(release.version, release.name, files, self._step)
        self._tell("fetched", release.version, "signature holds")
        return entry

    def _shadow(self, candidate: Bundle, classifier: Classifier) -> Tally | None:
        """Compare on real items; raises UpdateError where the new model is worse."""
        tally = Tally()
        for crops, decision in self._observed(self._plan.shadow_items):
            tally = tally.with_item(
                _label(self._judge(candidate, classifier, crops)), _label(decision)
            )
            reason = worse(tally)
            if reason:
                raise UpdateError(f"version {candidate.version}: {reason}", lasting=True)
        return tally if tally.items >= self._plan.shadow_items else None

    def _try_out(self, tally: Tally) -> None:
        """It runs now; back to the last good one if it is worse."""
        for _, decision in self._observed(self._plan.trial_items):
            tally = tally.with_own_item(decision.outcome == "sorted")
            reason = worse(tally) if tally.items_before else ""
            if reason:
                self._go_back(f"on trial it {reason}")
                return
        if tally.items >= self._plan.trial_items:
            self._step("confirm")
            self._store.confirm(f"after {tally.items} items on trial")
            self._tell("confirmed", self._running.bundle.version, self._store.state.note)

    def _observed(self, count: int) -> Iterator[Observed]:
        """`count` items as they come; ends early at another wish and at the end."""
        self._watching = True
        try:
            while count and not self._stop.is_set() and not self._wish_new:
                try:
                    item = self._items.get(timeout=POLL_S)
                except queue.Empty:
                    continue
                count -= 1
                yield item
        finally:
            self._watching = False

    def _go_back(self, reason: str) -> None:
        left = self._running.bundle.version
        self._step("roll back")
        entry = self._store.roll_back(reason)
        bundle = self._store.load(entry) if entry else self._fallback()
        if bundle.version == left:  # the shipped one: there is nothing behind it
            self._tell("failed", left, f"{reason}; no other model is there to go back to")
            return
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


def _label(decision: Decision) -> str | None:
    return decision.label if decision.outcome == "sorted" else None


def note_body(note: Note) -> dict[str, Any]:
    """What the event of a step says beside the usual."""
    return {"phase": note.phase, "version": note.version, "reason": note.reason}
