"""Commands obeyed: what each verb does, and what is answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edge.commands import Command
from edge.errors import ConfigError
from edge.mind import Mind
from edge.movements import Movements
from edge.options import name_fault
from edge.outbox import Outbox
from edge.resend import Ring
from edge.uncertain.collector import PictureCollector
from edge.update.keeper import ModelKeeper

VERBS = ("trigger", "pause", "resume", "reload", "ping", "resend")
MODEL_VERBS = ("model",)
MOVING_VERBS = ("clear", "move")

Answer = dict[str, Any]


class Orders:
    """Used by the loop alone; `paused` is what a command made of it."""

    def __init__(
        self,
        *,
        mind: Mind,
        outbox: Outbox,
        ring: Ring,
        movements: Movements | None,
        pictures: PictureCollector | None,
        keeper: ModelKeeper | None,
        on_reload: Callable[[], None],
    ) -> None:
        """`on_reload` is called once another configuration is in force."""
        self._mind = mind
        self._outbox = outbox
        self._ring = ring
        self._movements = movements
        self._pictures = pictures
        self._keeper = keeper
        self._on_reload = on_reload
        self.paused = False

    @property
    def verbs(self) -> tuple[str, ...]:
        """What this bin can be told to do, for its birth."""
        return (
            VERBS
            + (MOVING_VERBS if self._movements else ())
            + (MODEL_VERBS if self._keeper else ())
        )

    def obey(self, command: Command) -> Answer:
        """Carry out an admitted command; the answer is for its sender."""
        match command.verb:
            case "ping":
                return {"ok": True, "detail": "pong"}
            case "trigger":
                return self._fire(command.received_s)
            case "pause" | "resume":
                return self._pause(command.verb == "pause")
            case "reload":
                return self.reload()
            case "resend":
                return self._ring.obey(command.body, send=self._outbox.add)
            case "clear" | "move":
                if self._movements:
                    return self._movements.order(command)
                return {"ok": False, "detail": "no actuator is set up; see actuator.mode"}
            case "pictures":
                return self._delete_pictures(command.body.get("delete"))
            case "model" if self._keeper:
                return self._keeper.command(command.body)
            case _:
                return {"ok": False, "detail": "no updates are set up; see update.url"}

    def reload(self) -> Answer:
        """Read the configuration again; a faulty file changes nothing."""
        try:
            fixed = self._mind.reload()
        except ConfigError as error:
            return {"ok": False, "detail": f"the old configuration is kept: {error}"}
        self._on_reload()
        rest = f"; a restart is needed for {', '.join(fixed)}" if fixed else ""
        return {"ok": True, "detail": f"configuration read again{rest}"}

    def _pause(self, pause: bool) -> Answer:
        """What is open at a pause is told; what comes while it lasts is nobody's."""
        if pause and not self.paused:
            self._mind.rest("paused by a command")
        elif self.paused and not pause:
            self._mind.wake()
        self.paused = pause
        return {"ok": True, "detail": "paused" if pause else "resumed"}

    def _fire(self, received_s: float) -> Answer:
        if self.paused:
            return {"ok": False, "detail": "paused; resume first"}
        if self._mind.trigger.fire(received_s):
            return {"ok": True, "detail": "the next frames will be judged"}
        return {"ok": False, "detail": "too many items wait for frames; is the camera well?"}

    def _delete_pictures(self, name: object) -> Answer:
        if self._pictures is None:
            return {"ok": False, "detail": "no pictures are kept here; see pictures.keep"}
        if not isinstance(name, str) or name_fault(name):
            return {"ok": False, "detail": 'send {"delete": ID} or {"delete": "all"}'}
        return self._pictures.delete(name)
