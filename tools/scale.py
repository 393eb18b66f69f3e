"""How many bins one host carries: broker, monitor, database and simulated bins side by side.

python -m tools.scale --bins 10000 --rate 1000 --minutes 10 --store sqlite|postgresql [--out FILE]
python -m tools.scale --limit --bins 2000 --store sqlite         raise the rate until it gives way
python -m tools.scale --monitors 2 --rate 2000 --store postgresql    two that share one subscription

Mosquitto, the monitor and the bins are processes of their own. Lag is from `decided_ts` in the bin
to the moment at which another connection sees the row, asked for every 100 ms, on one clock;
events that waited in a bin's outbox (it was away) are left out there, as are the first 15 s, in
which the births of all bins are stored; both are counted all the same.
None is lost where, for every start of every bin, the numbers 1..last are in the database.
Page answers are timed from the moment at which all bins are there until the last item.
`store.durable` is on unless --no-flush is given: seen is what is committed, acknowledged what is
on the disk; both times are printed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import sqlalchemy as sa

from edge.fleet import schema
from edge.fleet.database import Database
from tests.fleet_harness import postgres
from tests.harness import free_port
from tools.soak import BROKER

PASSWORD = "a password for a run"
LOOK_EVERY_S = 0.1
PAGE_EVERY_S = 2.0
SETTLE_S = 120.0
WARM_UP_S = 15.0  # after the bins have come: their births are being stored
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
LIMIT_LAG_S = 2.0  # p99 beyond which a rate counts as too much
LIMIT_PAGE_MS = 300.0
# As docs/fleet.md asks: room for what is logged while a slow disk flushes, and less of it.
POSTGRES = ("wal_buffers=64MB", "wal_compression=on", "max_wal_size=4GB")


@dataclass(frozen=True)
class Load:
    """What is to be carried."""

    bins: int
    rate: float
    minutes: float
    store: str
    monitors: int = 1
    churn: float = 0.01
    outage: float = 0.05
    decisions: bool = True
    durable: bool = True


@dataclass
class Seen:
    """What the onlooker saw in the database, and when; written by its thread."""

    lags_s: list[float] = field(default_factory=list)
    keys: list[tuple[str, int]] = field(default_factory=list)  # boot, seq
    decided_ts: list[float] = field(default_factory=list)
    page_ms: dict[str, list[tuple[float, float]]] = field(default_factory=dict)  # when, how long
    kept: dict[float, float] = field(default_factory=dict)  # messages acknowledged within, s
    cpu_s: dict[str, list[tuple[float, float]]] = field(default_factory=dict)  # when, CPU so far
    rss_mb: dict[str, float] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def main() -> None:
    """Measure, and print the table."""
    arguments = _arguments()
    loads = [arguments.load]
    if arguments.limit:
        loads = []
        rate = arguments.load.rate
        while rate <= arguments.most:
            loads.append(Load(**{**vars(arguments.load), "rate": rate}))
            rate *= arguments.factor
    rows = []
    for load in loads:
        rows.append(measure(load))
        print(as_line(rows[-1]), flush=True)
        if arguments.limit and (rows[-1]["lag_p99_s"] > LIMIT_LAG_S or rows[-1]["lost"]):
            break
    print(as_table(rows))
    print(as_verdict(rows[-1]))
    if arguments.out:
        with arguments.out.open("a") as file:
            file.write(json.dumps({"command": " ".join(sys.argv[1:]), "rows": rows}) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bins", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=1000.0)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--store", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--monitors", type=int, default=1)
    parser.add_argument("--churn", type=float, default=0.01)
    parser.add_argument("--outage", type=float, default=0.05)
    parser.add_argument("--no-flush", action="store_true", help="store.durable = false")
    parser.add_argument("--no-decisions", action="store_true", help="Events alone.")
    parser.add_argument("--limit", action="store_true")
    parser.add_argument("--factor", type=float, default=1.5, help="From step to step.")
    parser.add_argument("--most", type=float, default=20_000.0)
    parser.add_argument("--out", type=Path, help="JSON lines are added to it.")
    given = parser.parse_args()
    given.load = Load(
        bins=given.bins,
        rate=given.rate,
        minutes=given.minutes,
        store=given.store,
        monitors=given.monitors,
        churn=given.churn,
        outage=given.outage,
        decisions=not given.no_decisions,
        durable=not given.no_flush,
    )
    return given


def measure(load: Load) -> dict[str, Any]:
    """One run from empty to empty: the figures of it."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="smartbin-scale-")))
        url, server = f"sqlite:///{folder / 'fleet.db'}", None
        if load.store == "postgresql":
            cluster = stack.enter_context(postgres(fsync=True, options=POSTGRES))
            url, server = cluster.database("fleet"), cluster.pid
        port = free_port()
        broker = stack.enter_context(_broker(folder, port))
        files = [_settings(folder, n, port, url, load) for n in range(load.monitors)]
        _add_user(files[0][0])
        monitors = [stack.enter_context(_monitor(file, page)) for file, page in files]
        pids = {"broker": broker.pid}
        pids |= {f"monitor {n + 1}": process.pid for n, process in enumerate(monitors)}
        pids |= {"postgresql": server} if server else {}
        return _run(load, folder=folder, port=port, url=url, page=files[0][1], pids=pids)


@contextlib.contextmanager
def _broker(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Mosquitto without limits and without a disk."""
    config = folder / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\npersistence false\n"
        "max_queued_messages 0\nmax_inflight_messages 0\nset_tcp_nodelay true\n"
        "connection_messages false\nlog_type error\nlog_type warning\n"
    )
    assert BROKER, "Mosquitto is not installed: apt-get install mosquitto"
    process = subprocess.Popen([BROKER, "-c", str(config)])
    try:
        time.sleep(0.5)
        yield process
    finally:
        process.terminate()
        process.wait(30)


def _settings(folder: Path, n: int, port: int, url: str, load: Load) -> tuple[Path, int]:
    """A fleet.toml, and the port of its page; all else is the default."""
    page, file = free_port(), folder / f"fleet-{n}.toml"
    file.write_text(
        f'[store]\nurl = "{url}"\ndurable = {str(load.durable).lower()}\n'
        f'[mqtt]\nport = {port}\nname = "monitor-{n}"\n[page]\nport = {page}\n'
        f"[watch]\nmax_bins = 1000000\n"
    )
    return file, page


def _add_user(file: Path) -> None:
    command = [sys.executable, "-m", "edge.cli", "fleet", "user", "add", "ann", "-c", str(file)]
    subprocess.run(command, input=PASSWORD, text=True, check=True, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def _monitor(file: Path, page: int) -> Iterator[subprocess.Popen[bytes]]:
    log = file.with_suffix(".log").open("wb")
    command = [sys.executable, "-m", "edge.cli", "fleet", "-c", str(file)]
    process = subprocess.Popen(command, stderr=log)
    try:
        until_s = time.monotonic() + 60
        while time.monotonic() < until_s:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"http://127.0.0.1:{page}/healthz").status_code == 200:
                    break
            time.sleep(0.2)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        log.close()


def _run(
    load: Load, *, folder: Path, port: int, url: str, page: int, pids: dict[str, int]
) -> dict[str, Any]:
    database = Database(url.replace("postgresql://", "postgresql+psycopg://", 1))
    ledger, seen, stop = folder / "ledger.jsonl", Seen(), threading.Event()
    command = [sys.executable, "-m", "edge.cli", "simulate", "--json", "--port", str(port)]
    command += ["--bins", str(load.bins), "--rate", str(load.rate), "--ledger", str(ledger)]
    command += ["--minutes", str(load.minutes), "--churn", str(load.churn)]
    command += ["--outage", str(load.outage), *([] if load.decisions else ["--no-decisions"])]
    bins = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    pids = {**pids, "bins": bins.pid}
    threads = [
        threading.Thread(target=_watch_rows, args=(database, seen, stop), daemon=True),
        threading.Thread(target=_watch_page, args=(page, seen, stop), daemon=True),
        threading.Thread(target=_watch_processes, args=(pids, seen, stop), daemon=True),
    ]
    for thread in threads:
        thread.start()
    assert bins.stdout
    said = [
        json.loads(line) | {"at_s": time.monotonic(), "ts": time.time()} for line in bins.stdout
    ]
    bins.wait()
    told_s = time.monotonic()
    behind_s = _settle(database, said[-1]["made"]) - told_s
    stop.set()
    for thread in threads:
        thread.join()
    return _figures(load, database, ledger, said, seen, behind_s)


def _settle(database: Database, made: int) -> float:
    """Wait until the last event is stored, or in vain; the time of it."""
    until_s = time.monotonic() + SETTLE_S
    while time.monotonic() < until_s:
        with database.reading() as db:
            if db.execute(sa.select(sa.func.count()).select_from(schema.event)).scalar() >= made:
                break
        time.sleep(0.5)
    return time.monotonic()


def _watch_rows(database: Database, seen: Seen, stop: threading.Event) -> None:
    """See each row as soon as it is committed."""
    event, last = schema.event.c, 0
    query = sa.select(event.id, event.boot, event.seq, event.ts).order_by(event.id)
    while not stop.is_set():
        began_s = time.monotonic()
        with database.reading() as db:
            rows = db.execute(query.where(event.id > last)).all()
        now_ts = time.time()
        for id_, boot, seq, ts in rows:
            seen.lags_s.append(now_ts - ts)
            seen.keys.append((boot, seq))
            seen.decided_ts.append(ts)
            last = max(last, id_)
        stop.wait(max(0.01, LOOK_EVERY_S - (time.monotonic() - began_s)))


def _watch_page(page: int, seen: Seen, stop: threading.Event) -> None:
    """Log in, and open the fleet and one bin every two seconds."""
    with httpx.Client(base_url=f"http://127.0.0.1:{page}", timeout=60) as client:
        client.post("/login", data={"name": "ann", "password": PASSWORD})
        n = 0
        while not stop.wait(PAGE_EVERY_S):
            n += 1
            for name, path in (("fleet", "/"), ("bin", f"/bins/sim/bin-{1 + n % 50:05d}")):
                began_s = time.perf_counter()
                try:
                    status = client.get(path).status_code
                except httpx.HTTPError as error:
                    seen.faults.append(f"{path}: {error!r}")
                    continue
                took_ms = (time.perf_counter() - began_s) * 1000
                if status == 200:
                    mark = (time.monotonic(), took_ms)
                    seen.page_ms.setdefault(name, []).append(mark)
                elif status != 404 or n > 20:  # a bin is not there before its birth
                    seen.faults.append(f"{path}: {status}")
        seen.kept = _acknowledged(client.get("/metrics").text)


def _acknowledged(metrics: str) -> dict[float, float]:
    """Of the first monitor: how many messages were on the disk and acknowledged within a time."""
    line = re.compile(r'smartbin_fleet_acknowledge_lag_seconds_bucket{le="([^"]+)"} (\S+)')
    return {float(bound): float(n) for bound, n in line.findall(metrics)}


def _bound_of(kept: dict[float, float], share: float) -> float:
    """The least bound of the histogram within which `share` of the messages were."""
    whole = max(kept.values(), default=0.0)
    return min((bound for bound, n in kept.items() if n >= share * whole), default=float("nan"))


def _watch_processes(pids: dict[str, int], seen: Seen, stop: threading.Event) -> None:
    while not stop.wait(1.0):
        for name, pid in pids.items():
            group = _with_children(pid) if name == "postgresql" else [pid]
            cpu_s = rss_mb = 0.0
            for member in group:
                with contextlib.suppress(OSError, IndexError):
                    fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
                    cpu_s += (int(fields[11]) + int(fields[12])) / TICKS_PER_S
                    if member == pid and len(group) > 1:  # and of children that have ended
                        cpu_s += (int(fields[13]) + int(fields[14])) / TICKS_PER_S
                    rss_mb += _unshared_mb(member)
            if cpu_s:
                seen.cpu_s.setdefault(name, []).append((time.monotonic(), cpu_s))
            seen.rss_mb[name] = max(seen.rss_mb.get(name, 0.0), rss_mb)


def _unshared_mb(pid: int) -> float:
    """Proportional set size: PostgreSQL's processes share most of their memory."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1000
    return 0.0


def _with_children(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        return [pid, *map(int, children.read_text().split())]
    except OSError:
        return [pid]


def _figures(
    load: Load,
    database: Database,
    ledger: Path,
    said: list[dict[str, Any]],
    seen: Seen,
    behind_s: float,
) -> dict[str, Any]:
    """Count by the database, lag of what went out at once, the rest as it was watched."""
    starts = {(r["bin"], r["boot"]): r for r in map(json.loads, ledger.read_text().splitlines())}
    stored, rows = _stored(database)
    lost = foreign = 0
    for key, row in starts.items():
        numbers = stored.pop(key, set())
        lost += row["last"] - len(numbers & set(range(1, row["last"] + 1)))
        foreign += len(numbers - set(range(1, row["last"] + 1)))
    foreign += sum(len(numbers) for numbers in stored.values())
    waited = {
        (row["boot"], seq)
        for row in starts.values()
        for low, high in row["waited"]
        for seq in range(low, high + 1)
    }
    full = [row for row in said if row["online"] >= 0.9 * load.bins]
    window = (full[0]["at_s"], full[-1]["at_s"]) if full else (0.0, 0.0)
    warm_ts = full[0]["ts"] + WARM_UP_S if full else 0.0
    rows_seen = zip(seen.keys, seen.lags_s, seen.decided_ts, strict=True)
    live_s = [lag_s for key, lag_s, ts in rows_seen if ts >= warm_ts and key not in waited]
    end = said[-1]
    return {
        **vars(load),
        "lived_s": end["lived_s"],
        "sent": end["made"],
        "stored": rows,
        "lost": lost,
        "unknown": foreign,
        "sent_again": end["again"],
        "stored_twice": rows + lost - foreign - sum(row["last"] for row in starts.values()),
        "breaks": end["connections"] - load.bins,
        "waited": len(waited),
        "live": len(live_s),
        "events_per_s": round(_pace(full), 1),
        "lag_p50_s": _percentile(live_s, 50),
        "lag_p99_s": _percentile(live_s, 99),
        "lag_max_s": _percentile(live_s, 100),
        "behind_s": round(max(0.0, behind_s), 1),
        "page_ms": {
            name: _spread([ms for at_s, ms in marks if window[0] <= at_s <= window[1]])
            for name, marks in sorted(seen.page_ms.items())
        },
        "page_slowest": _slowest(seen.page_ms, window[0]),
        "acknowledged_p99_s": _bound_of(seen.kept, 0.99),
        "acknowledged_max_s": _bound_of(seen.kept, 1.0),
        "page_faults": seen.faults[:5],
        "event_bytes": round(_event_bytes(database) / max(1, rows)),
        "cpu_cores": {name: _cores(marks, window) for name, marks in seen.cpu_s.items()},
        "rss_mb": {name: round(mb) for name, mb in seen.rss_mb.items()},
    }


def _pace(full: list[dict[str, Any]]) -> float:
    """Events a second that the broker took, while the fleet was there."""
    if len(full) < 2:
        return 0.0
    return (full[-1]["delivered"] - full[0]["delivered"]) / (full[-1]["at_s"] - full[0]["at_s"])


def _stored(database: Database) -> tuple[dict[tuple[str, str], set[int]], int]:
    """Numbers by start, and how many rows there are."""
    event, bin_ = schema.event.c, schema.bin_.c
    query = sa.select(bin_.name, event.boot, event.seq).join_from(
        schema.event, schema.bin_, bin_.id == event.bin_id
    )
    found: dict[tuple[str, str], set[int]] = {}
    rows = 0
    with database.reading() as db:
        for name, boot, seq in db.execute(query):
            found.setdefault((name, boot), set()).add(seq)
            rows += 1
    return found, rows


def _event_bytes(database: Database) -> int:
    """What all events take with their indexes; in SQLite, the whole file."""
    pages = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
    sized = pages if database.is_sqlite else "SELECT pg_total_relation_size('event')"
    with database.reading() as db:
        return int(db.exec_driver_sql(sized).scalar() or 0)


def _percentile(values: list[float], share: float) -> float:
    return round(float(np.percentile(values, share)), 3) if values else float("nan")


def _slowest(page_ms: dict[str, list[tuple[float, float]]], began_s: float) -> list[Any]:
    """Page, seconds since all bins were there, milliseconds; of the five that took longest."""
    marks = [
        (name, round(at_s - began_s, 1), round(ms))
        for name, some in page_ms.items()
        for at_s, ms in some
    ]
    return sorted(marks, key=lambda mark: -mark[2])[:5]


def _spread(values: list[float]) -> list[float]:
    """Median, p99, worst, and of how many."""
    return [*(_percentile(values, share) for share in (50, 99, 100)), len(values)]


def _cores(marks: list[tuple[float, float]], window: tuple[float, float]) -> float:
    """CPU seconds a second within the window."""
    inside = [mark for mark in marks if window[0] <= mark[0] <= window[1]]
    if len(inside) < 2:
        return 0.0
    return round((inside[-1][1] - inside[0][1]) / (inside[-1][0] - inside[0][0]), 2)


def as_line(row: dict[str, Any]) -> str:
    """For a person who waits."""
    return json.dumps(row)


def as_table(rows: list[dict[str, Any]]) -> str:
    """Markdown, a column for each run."""
    names = {
        "store": "store",
        "monitors": "monitors",
        "durable": "store.durable",
        "bins": "bins connected",
        "rate": "items a second asked for",
        "lived_s": "seconds",
        "sent": "events sent",
        "stored": "events stored",
        "lost": "lost",
        "stored_twice": "stored twice",
        "sent_again": "sent again after a break",
        "breaks": "connections broken and made again",
        "events_per_s": "events a second, acknowledged",
        "lag_p50_s": "ingest lag p50, s",
        "lag_p99_s": "ingest lag p99, s",
        "lag_max_s": "ingest lag, longest, s",
        "acknowledged_p99_s": "until the disk has it and the broker knows, p99, s: within",
        "event_bytes": "bytes an event in the database, with indexes",
        "behind_s": "seconds until the last was stored, after the end",
    }
    lines = [
        f"| {title} | " + " | ".join(str(r[key]) for r in rows) for key, title in names.items()
    ]
    for name in ("fleet", "bin"):
        cells = ["{} / {} / {} of {}".format(*row["page_ms"].get(name, ["-"] * 4)) for row in rows]
        lines.append(f"| page of the {name}, ms p50 / p99 / worst | " + " | ".join(cells))
    for name in dict.fromkeys(name for row in rows for name in row["cpu_cores"]):
        cells = [f"{r['cpu_cores'].get(name, '-')}, {r['rss_mb'].get(name, '-')} MB" for r in rows]
        lines.append(f"| {name}: cores, memory | " + " | ".join(cells))
    head = "|  |" + "  |" * len(rows) + "\n|---|" + "---|" * len(rows)
    return "\n".join([head, *(f"{line} |" for line in lines)])


def as_verdict(row: dict[str, Any]) -> str:
    """Whether what is asked of one host is kept."""
    pages = {name: figures[1] for name, figures in row["page_ms"].items()}
    kept = {
        f"{row['lost']} of {row['sent']} events lost, {row['stored_twice']} stored twice": not (
            row["lost"] or row["stored_twice"]
        ),
        f"lag p99 {row['lag_p99_s']} s, under {LIMIT_LAG_S:g} s": row["lag_p99_s"] < LIMIT_LAG_S,
        **{
            f"page of the {name} p99 {ms} ms, under {LIMIT_PAGE_MS:g} ms": ms < LIMIT_PAGE_MS
            for name, ms in pages.items()
        },
    }
    return "\n".join(f"{'kept  ' if good else 'MISSED'} {what}" for what, good in kept.items())


if __name__ == "__main__":
    main()
