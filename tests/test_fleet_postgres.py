"""The same contract over PostgreSQL: a cluster of the tests' own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.fleet_contract import MonitorContract
from tests.fleet_harness import NO_POSTGRES, NUMBERS, POSTGRES_BIN, PostgresCluster, postgres

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.slow,
    pytest.mark.skipif(POSTGRES_BIN is None, reason=NO_POSTGRES),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgresCluster]:
    with postgres() as cluster:
        yield cluster


class TestOnPostgres(MonitorContract):
    """The whole contract, on a server."""

    @pytest.fixture
    def url(self, cluster: PostgresCluster) -> str:
        return cluster.database(f"fleet{next(NUMBERS)}")

    @pytest.fixture
    def outage(self, cluster: PostgresCluster) -> Callable[[], Any]:
        """The server is killed, and started again."""

        def begin() -> Callable[[], None]:
            cluster.stop()
            return cluster.start

        return begin
