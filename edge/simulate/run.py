"""Runs a simulated fleet until its time is over or a signal comes, and says how it goes."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

from edge.brokers import Broker
from edge.simulate.fleet import Fleet
from edge.simulate.plan import Habits


def simulate(
    *,
    broker: Broker,
    bins: int,
    habits: Habits,
    for_s: float | None,
    seed: int,
    site: str,
    tell_decisions: bool,
    ledger: Path | None,
    as_json: bool,
) -> None:
    """Blocks; raises SmartbinError where there is no broker."""

    async def live() -> dict[str, Any]:
        fleet = Fleet(
            broker=broker,
            bins=bins,
            habits=habits,
            seed=seed,
            site=site,
            tell_decisions=tell_decisions,
            say=lambda figures: _say(figures, bins, as_json=as_json),
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, fleet.stop)
        figures = await fleet.run(for_s=for_s)
        if ledger:
            fleet.write_ledger(ledger)
        return figures

    figures = asyncio.run(live())
    if as_json:
        print(json.dumps({"type": "end", **figures}), flush=True)
    else:
        print(_as_text(figures))


def _say(figures: dict[str, Any], bins: int, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"type": "now", **figures}), flush=True)
        return
    trouble = f"; last trouble: {figures['trouble']}" if figures["trouble"] else ""
    print(
        f"{figures['online']} of {bins} bins connected, {figures['made']} events, "
        f"{figures['waiting']} wait{trouble}",
        file=sys.stderr,
        flush=True,
    )


def _as_text(figures: dict[str, Any]) -> str:
    return (
        f"{figures['bins']} bins for {figures['lived_s']:.0f} s: {figures['made']} events, "
        f"{figures['delivered']} acknowledged by the broker, {figures['waiting']} still wait; "
        f"{figures['again']} sent again after a break, {figures['resent']} on request; "
        f"{figures['connections']} connections, {figures['breaks']} broken by others, "
        f"{figures['boots']} starts; {figures['healths']} healths, {figures['commands']} commands"
    )
