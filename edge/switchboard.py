"""Which part hears what the broker says: called in the network thread, it only hands over."""

from __future__ import annotations

from edge.desk import CommandDesk
from edge.discovery import ONLINE, status_topic
from edge.herald import Herald
from edge.movements import Movements
from edge.postman import Postman
from edge.uncertain.collector import PictureCollector
from edge.update.keeper import ModelKeeper
from edge.values import Incoming
from edge.wire import Topics


class Switchboard:
    """Knows the topics of one bin; its parts are set before the connection is begun."""

    def __init__(
        self,
        *,
        topics: Topics,
        desk: CommandDesk,
        postman: Postman,
        keeper: ModelKeeper | None,
        hears_acks: bool,
        home_prefix: str,
    ) -> None:
        """`hears_acks`: the actuator is behind the broker; `home_prefix` of Home Assistant."""
        self._topics = topics
        self._desk = desk
        self._postman = postman
        self._keeper = keeper
        self._hears_acks = hears_acks
        self._home_prefix = home_prefix  # empty where it is not used
        self.herald: Herald | None = None
        self.movements: Movements | None = None
        self.pictures: PictureCollector | None = None

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """What to ask the broker for."""
        acks = (self._topics.of("ack"),) if self._hears_acks else ()
        wishes = (self._keeper.topic,) if self._keeper else ()
        status = (status_topic(self._home_prefix),) if self._home_prefix else ()
        return (self._topics.commands, *acks, *wishes, *status)

    def connected(self) -> None:
        """The broker has let us in: introduce the bin."""
        if self.herald:
            self.herald.greet()

    def take(self, incoming: Incoming) -> None:
        """Hand a message to the part that it is for."""
        if self._keeper and incoming.topic == self._keeper.topic:
            self._keeper.hear(incoming)
        elif self._home_prefix and incoming.topic == status_topic(self._home_prefix):
            if incoming.payload == ONLINE:
                self.connected()
        elif incoming.topic != self._topics.of("ack"):
            self._desk.take(incoming)
        elif self.movements:
            self.movements.take(incoming)

    def acknowledged(self, connection: int, mid: int, accepted: bool) -> None:
        """The broker has, or refuses, what we sent; each part knows its own messages."""
        self._postman.acknowledge(connection, mid, accepted)
        if self.pictures:
            self.pictures.acknowledge(mid, accepted)
