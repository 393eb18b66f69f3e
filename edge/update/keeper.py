"""What the daemon sees of updates: the bundle to start with, and a look-in after every item."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.bundle import Bundle
from edge.classifier import Classifier
from edge.errors import MissingExtraError
from edge.judge import Verdict
from edge.update.errors import UpdateError
from edge.update.rollout import Wish, chosen, read_wish, topic_of
from edge.update.start import active_bundle
from edge.update.steps import Judging, Note, Plan, Swap
from edge.update.store import ModelStore
from edge.update.updater import Updater
from edge.values import Incoming

if TYPE_CHECKING:
    from edge.update.repository import Repository

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Address:
    """Where releases come from, and whose turn this bin is drawn by."""

    url: str
    root_file: Path
    ca_file: str
    group: str
    site: str
    bin: str


class ModelKeeper:
    """Used by the loop; the work is done in the updater's thread."""

    def __init__(
        self,
        *,
        store: ModelStore,
        fallback: Callable[[], Bundle],
        address: Address,
        plan: Plan,
        judge: Judging,
        step: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Chooses the bundle to start with; never raises for root.json or the store's disk."""
        self._store, self._fallback, self._address = store, fallback, address
        self._plan, self._judge, self._step = plan, judge, step
        self.bundle = active_bundle(store, fallback)
        self._lock = threading.Lock()  # guards _updater's birth against the network thread
        self._updater: Updater | None = None
        self._heard: Wish | None = None  # the group's last word, as far as it is about this bin
        self._ready_told = False
        try:
            read_root(address.root_file)
        except UpdateError as error:  # the bin works; each update tells it again
            log.warning("%s", error)

    @property
    def topic(self) -> str:
        """Where the wish of this bin's group is retained."""
        return topic_of(self._address.group)

    def start(self, classifier: Classifier) -> None:
        """Begin to listen; `classifier` is the opened bundle."""
        updater = Updater(
            store=self._store,
            source=self._open_repository,
            fallback=self._fallback,
            running=Swap(self.bundle, classifier, "start"),
            judge=self._judge,
            plan=self._plan,
            step=self._step,
        )
        with self._lock:
            self._updater = updater
            updater.start()
            if self._heard is not None:  # it came while the daemon was starting
                updater.want(self._heard)

    def close(self) -> None:
        """End; what is half done is done again at the next start."""
        if self._updater:
            self._updater.close()

    def hear(self, incoming: Incoming) -> None:
        """The group's wish, from the network thread."""
        try:
            wish = read_wish(incoming.payload)
        except UpdateError as error:
            log.warning("%s: %s", incoming.topic, error)
            return
        mine = self._mine(wish)
        with self._lock:
            if mine == self._heard:  # retained: told again at every connection
                return
            self._heard = mine
            if self._updater is not None:
                self._updater.want(mine)

    def _mine(self, wish: Wish | None) -> Wish | None:
        """What of a group's wish is about this bin; None where nothing is, or no more."""
        if wish is None or chosen(wish, self._address.site, self._address.bin):
            return wish
        if not wish.withdrawn:
            return None
        # Not its turn; what is withdrawn it leaves all the same, even on the way to it.
        return Wish(wish.withdrawn[0], withdrawn=wish.withdrawn)

    def command(self, body: dict[str, Any]) -> dict[str, Any]:
        """`cmd/model` with {"version": 7}, or {"withdraw": 7} to go back from it."""
        key = next((k for k in ("version", "withdraw") if k in body), None)
        version = body.get(key) if key else None
        if self._updater is None or isinstance(version, bool) or not isinstance(version, int):
            return {"ok": False, "detail": 'send {"version": 7}, or {"withdraw": 7}'}
        if key == "withdraw":
            if version != self.bundle.version:
                return {"ok": False, "detail": f"{self.bundle.model_id} runs, not {version}"}
            self._updater.want(Wish(version, withdrawn=(version,)))
            return {"ok": True, "detail": f"version {version} will be left"}
        self._updater.want(Wish(version))
        return {"ok": True, "detail": f"version {version} will be fetched, checked and tried"}

    def see(self, verdict: Verdict) -> None:
        """An item was decided."""
        if self._updater:
            self._updater.observe(verdict.crops, verdict.decision)

    def ready(self) -> None:
        """The daemon works: the model on trial is not to blame for later starts."""
        if not self._ready_told:
            self._ready_told = True
            try:
                self._store.reached_ready()
            except UpdateError as error:
                log.warning("%s", error)

    def swap(self) -> Swap | None:
        """A model to take over now, between two items."""
        swap = self._updater.swap() if self._updater else None
        if swap is not None:
            self.bundle = swap.bundle
        return swap

    def notes(self) -> Iterator[Note]:
        """What has happened since the last call, for the record."""
        return self._updater.notes() if self._updater else iter(())

    def _open_repository(self, step: Callable[[str], None]) -> Repository:
        try:
            from edge.update.repository import Repository
        except ImportError as error:
            raise MissingExtraError(
                f"updates need {error.name}: pip install 'smartbin[update]'"
            ) from error
        return Repository(
            url=self._address.url,
            root=read_root(self._address.root_file),
            folder=self._store.folder / "tuf",
            ca_file=self._address.ca_file,
            step=step,
        )


def read_root(path: Path) -> bytes:
    """The trusted root metadata that the owner put on the bin; raises UpdateError."""
    try:
        data = path.read_bytes()
        json.loads(data)
    except OSError as error:
        raise UpdateError(
            f"update.root: {path}: cannot be read ({error.strerror}); copy root.json of the "
            "model repository there"
        ) from error
    except ValueError as error:
        raise UpdateError(
            f"update.root: {path}: not JSON; copy root.json of the model repository again"
        ) from error
    return data
