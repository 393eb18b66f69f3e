"""What the daemon sees of updates: the bundle to start with, and a look-in after every item."""

from __future__ import annotations

import json
import logging
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
from edge.update.store import ModelStore
from edge.update.updater import Judging, Note, Plan, Swap, Updater
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
        """Chooses the bundle to start with; raises UpdateError where root.json cannot be read."""
        self._store, self._fallback, self._address = store, fallback, address
        self._plan, self._judge, self._step = plan, judge, step
        self._root = read_root(address.root_file)
        self.bundle = active_bundle(store, fallback)
        self._updater: Updater | None = None
        self._ready_told = False

    @property
    def topic(self) -> str:
        """Where the wish of this bin's group is retained."""
        return topic_of(self._address.group)

    def start(self, classifier: Classifier) -> None:
        """Begin to listen; `classifier` is the opened bundle."""
        self._updater = Updater(
            store=self._store,
            source=self._open_repository,
            fallback=self._fallback,
            running=Swap(self.bundle, classifier, "start"),
            judge=self._judge,
            plan=self._plan,
            step=self._step,
        )
        self._updater.start()

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
        if wish is None or self._updater is None:
            return
        mine = self.bundle.version in wish.withdrawn
        if mine or chosen(wish, self._address.site, self._address.bin):
            self._updater.want(wish)

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
            self._updater.observe([crop.pixels for crop in verdict.crops], verdict.decision)

    def ready(self) -> None:
        """The daemon works: the model on trial is not to blame for later starts."""
        if not self._ready_told:
            self._ready_told = True
            self._store.reached_ready()

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
            root=self._root,
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
