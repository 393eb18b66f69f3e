"""All devices of a bin: an order goes to the one that serves its route."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from edge.actuator.devices import Device
from edge.actuator.ledger import Ledger
from edge.actuator.values import Ack, Order
from edge.actuator.worker import Answer, Worker


class Mover:
    """`obey` returns at once; `answer(order, ack)` is called once for each order, in any thread."""

    def __init__(
        self,
        *,
        devices: Sequence[Device],
        ledger: Ledger,
        answer: Answer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Bring every device home; nothing moves until `release`."""
        self._ledger = ledger
        self._answer = answer
        self._clock = clock
        self._workers = [
            Worker(device=device, ledger=ledger, answer=answer, clock=clock) for device in devices
        ]
        self._by_route = {route: worker for worker in self._workers for route in worker.routes}

    @property
    def alive(self) -> bool:
        """Whether every device still has its thread."""
        return all(worker.alive for worker in self._workers)

    def idle_route(self, safe: str) -> str:
        """The safe route where nothing needs to move for it, else none."""
        return "" if safe in self._by_route else safe

    @property
    def jams(self) -> tuple[str, ...]:
        """Why devices do not move until they are cleared."""
        return tuple(worker.jam for worker in self._workers if worker.jam)

    def obey(self, order: Order) -> None:
        """Have an order carried out, or refused."""
        if order.verb == "clear" and not order.route:
            self._clear_all(order)
            return
        worker = self._by_route.get(order.route)
        if worker is not None:
            worker.put(order)
            return
        known = ", ".join(sorted(self._by_route))
        reason = f"no device serves {order.route!r}; served are {known}"
        self._answer(order, Ack(order.id, "refused", self._ms_since(order), reason))

    def hold(self, why: str) -> None:
        """Every device goes home and stays, and says `why`."""
        for worker in self._workers:
            worker.hold(why)

    def release(self) -> None:
        """Move again for new orders."""
        for worker in self._workers:
            worker.release()

    def close(self) -> None:
        """Go home and let go of all devices; idempotent."""
        self.hold("the actuator is stopping")  # all at once: one that is stuck keeps none waiting
        for worker in self._workers:
            worker.close()
        self._ledger.close()

    def _clear_all(self, order: Order) -> None:
        """One answer for all devices: `jammed` where one still is."""
        gathered = _Gathered(len(self._workers), self._answer)
        for worker in self._workers:
            worker.put(order, gathered.add)

    def _ms_since(self, order: Order) -> float:
        return round((self._clock() - order.received_s) * 1000, 2)


class _Gathered:
    """Waits for the answers of several devices to one order."""

    def __init__(self, count: int, tell: Answer) -> None:
        self._lock = threading.Lock()  # guards _acks
        self._acks: list[Ack] = []
        self._count = count
        self._tell = tell

    def add(self, order: Order, ack: Ack) -> None:
        with self._lock:
            self._acks.append(ack)
            complete = len(self._acks) == self._count
        if complete:
            worst = next((a for a in self._acks if a.result != "done"), self._acks[-1])
            self._tell(order, worst)
