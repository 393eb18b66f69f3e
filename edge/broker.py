"""The only importer of amqtt: a broker inside this process, for the demo and nothing else."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from types import TracebackType

from edge.errors import MissingExtraError

START_TIMEOUT_S = 10.0


class EmbeddedBroker:
    """An MQTT 3.1.1 broker on loopback, in a thread; use it with `with`."""

    def __init__(self) -> None:
        try:
            import amqtt.broker
        except ImportError as error:
            raise MissingExtraError(
                "the demo's embedded broker is not installed; run: pip install 'smartbin[demo]'"
            ) from error
        logging.getLogger("amqtt").setLevel(logging.ERROR)
        logging.getLogger("transitions").setLevel(logging.ERROR)
        self._broker_class = amqtt.broker.Broker
        self.port = _free_port()
        self._up = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="demo-broker", daemon=True)

    def __enter__(self) -> EmbeddedBroker:
        self._thread.start()
        if not self._up.wait(START_TIMEOUT_S):
            raise MissingExtraError("the demo's embedded broker did not start; try again")
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5.0)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        broker = self._broker_class(
            {
                "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{self.port}"}},
                "plugins": {
                    "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}
                },
            }
        )
        await broker.start()
        self._up.set()
        await self._stop.wait()
        await broker.shutdown()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
