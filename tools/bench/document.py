"""The tables in Markdown, as docs/benchmarks.md has them."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.bench.growth import AtDepth, AtRate, AtSize
from tools.bench.limits import Limits
from tools.bench.measure import Measured
from tools.bench.path import Row
from tools.bench.targets import Target

PACKAGES = (
    "onnxruntime",
    "ai-edge-litert",
    "litert-torch",
    "ai-edge-quantizer",
    "openvino",
    "ncnn",
    "opencv-python-headless",
    "numpy",
    "torch",
    "paho-mqtt",
    "rembg",
)


@dataclass(frozen=True, slots=True)
class Findings:
    """All that one run measured."""

    networks: Sequence[Measured]
    limits: Limits
    paths: Sequence[Row]  # with every core
    one_core: Sequence[Row]  # the same with one core for all but the broker
    sizes: Sequence[AtSize]
    rates: Sequence[AtRate]  # daemon and capture process on one core
    depths: Sequence[AtDepth]
    import_ms: tuple[float, float, float]
    targets: Sequence[Target]
    command: str
    pictures: str  # what the accuracy is measured on, in words


def as_markdown(found: Findings) -> str:
    """Everything, targets first."""
    parts = [
        ("Targets", targets(found.targets)),
        ("Networks", networks(found.networks, found.pictures)),
        ("Whole path, from a picture to a message that a subscriber has", _both(found)),
        ("Limits of this core", limits(found.limits)),
        ("Growth", growth(found)),
        ("Import", _import(found.import_ms)),
    ]
    return "\n\n".join([machine(found.command), *(f"## {name}\n{text}" for name, text in parts)])


def machine(command: str) -> str:
    """Where, when and with what."""
    there = [f"{name} {v}" for name in PACKAGES if (v := _version(name))]
    lines = [
        f"Measured {time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC at commit {_commit()} by",
        f"`{command}`.",
        "",
        f"- machine: {processor()}, {os.cpu_count()} cores, {platform.machine()}",
        f"- system: {platform.system()} {platform.release()}, Python {platform.python_version()}",
        f"- packages: {', '.join(there)}",
    ]
    return "\n".join(lines)


def targets(rows: Sequence[Target]) -> str:
    lines = ["| target | measured | |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {t.promise} | {t.found} | {t.verdict} |" for t in rows)])


def networks(rows: Sequence[Measured], pictures: str) -> str:
    """Fastest first; what could not be had comes last and says why."""
    lines = [
        f"Accuracy: {pictures}",
        "",
        "| network | precision | runtime | right, % (95 %) | macro F1 | gap, points | MB | "
        "MACs, M | ms, 1 thread | ms, 2 threads | ms after the others | peak RSS, MB | "
        "cold start, ms | trained |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    there = sorted((r for r in rows if r.one), key=lambda r: r.one.p50 if r.one else 0)
    lines += [_network(row) for row in there]
    for row in rows:
        if not row.one:
            lines.append(f"| {_name(row)} | not here: {row.why_not} " + "|" * 11)
    return "\n".join(lines)


def _name(row: Measured) -> str:
    c = row.contender
    name = f"**{c.name}**" if c.ours else c.name
    return f"{name} | {c.precision} | {c.runtime}"


def _network(row: Measured) -> str:
    right = f1 = gap = "–"
    if row.score:
        low, high = (100 * share for share in row.score.interval)
        right = f"{100 * row.score.accuracy:.1f} ({low:.1f} to {high:.1f})"
        f1 = f"{row.score.macro_f1:.3f}"
        gap = "–" if row.score.gap is None else f"{row.score.gap:.1f}"
    mb, macs = row.contender.bytes / 1e6, row.contender.macs / 1e6
    times = [f"{s.text}" if s else "–" for s in (row.one, row.two, row.after_others)]
    rss, cold = (f"{row.alone.rss_mb:.0f}", f"{row.alone.cold_ms:.0f}") if row.alone else ("–", "–")
    trained = row.contender.trained or "no: latency only"
    cells = [_name(row), right, f1, gap, f"{mb:.2f}", f"{macs:.0f}", *times, rss, cold, trained]
    return f"| {' | '.join(cells)} |"


def _both(found: Findings) -> str:
    cores = os.cpu_count()
    return (
        f"On one core, which most bins have to spare:\n\n{paths(found.one_core)}\n\n"
        f"On {cores} cores, which the scripts' network takes all and ours does not:\n\n"
        f"{paths(found.paths)}"
    )


def paths(rows: Sequence[Row]) -> str:
    lines = [
        "| way | p50, ms | p99, ms | CPU, ms a decision | memory taken by one, MB |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        s = row.spent
        name = f"**{row.name}**" if row.name.startswith("ours") else row.name
        cells = f"{s.p50:.2f} | {s.p99:.2f} | {s.cpu_ms:.2f} | {row.peak_mb:.2f}"
        lines.append(f"| {name} | {cells} |")
    return "\n".join(lines)


def limits(found: Limits) -> str:
    lines = [
        f"{found.macs / 1e6:.0f} M multiply-accumulates over the measured int8 rate, "
        f"{found.int8_gmacs:.0f} G a second: {found.arithmetic_ms:.2f} ms. "
        f"{(found.weight_bytes + found.activation_bytes) / 1e6:.1f} MB of weights and activations "
        f"over the measured {found.copy_gbs:.0f} GB a second: {found.memory_ms:.2f} ms. "
        f"The floor is the larger, {found.floor_ms:.2f} ms; the network runs in "
        f"{found.p50_ms:.2f} ms, {found.p50_ms / found.floor_ms:.2f} times the floor.",
        "",
        "| layers | ms | of the time | MACs, M | of the MACs | G MACs a second |",
        "|---|---|---|---|---|---|",
    ]
    whole_ms = sum(ms for ms, _ in found.by_kind.values()) or 1.0
    whole_macs = sum(macs for _, macs in found.by_kind.values()) or 1.0
    for kind, (ms, macs) in sorted(found.by_kind.items(), key=lambda row: -row[1][0]):
        rate = f"{macs / ms:.0f}" if macs and ms else "–"
        shares = f"{ms / whole_ms:.0%} | {macs:.1f} | {macs / whole_macs:.0%}"
        lines.append(f"| {kind} | {ms:.2f} | {shares} | {rate} |")
    return "\n".join(lines)


def growth(found: Findings) -> str:
    """Three tables."""
    return "\n\n".join((_sizes(found.sizes), _rates(found.rates), _depths(found.depths)))


def _sizes(rows: Sequence[AtSize]) -> str:
    lines = ["| frame, px | preprocessing, ms | with the network, ms |", "|---|---|---|"]
    for row in rows:
        lines.append(f"| {row.size[0]}x{row.size[1]} | {row.squeeze.text} | {row.whole.text} |")
    return "\n".join(lines)


def _rates(rows: Sequence[AtRate]) -> str:
    lines = [
        "| frames a second asked | segmenter | decided a second | shed a second, by health | "
        "cores used | frame to subscriber, ms: p50 | p99 |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        shed = "–" if r.dropped != r.dropped else f"{r.dropped:.1f}"
        cells = f"{r.decided:.1f} | {shed} | {r.cores:.2f} | {r.p50_ms:.1f} | {r.p99_ms:.1f}"
        lines.append(f"| {r.asked:.0f} | {r.segmenter} | {cells} |")
    return "\n".join(lines)


def _depths(rows: Sequence[AtDepth]) -> str:
    lines = [
        "| events in the outbox | add one, ms | p99 | find ten and let go, ms | "
        "upkeep between decisions, ms: p50 | p99 | MB on disk | open, ms |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        cells = f"{r.add.text} | {r.add.p99:.2f} | {r.look.text} | {r.keep.p50:.2f} | "
        cells += f"{r.keep.p99:.0f} | {r.mb:.1f} | {r.open_ms:.0f}"
        lines.append(f"| {r.depth:,} | {cells} |")
    return "\n".join(lines)


def _import(ms: tuple[float, float, float]) -> str:
    p10, p50, p90 = ms
    return f"`import edge.daemon` in fresh processes: {p50:.0f} ms ({p10:.0f} to {p90:.0f})."


def processor() -> str:
    """The model's name with what it has for int8 products."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in text.splitlines() if "model name" in line]
    has = [flag for flag in ("avx2", "avx512_vnni", "avx_vnni", "asimddp", "i8mm") if flag in text]
    return f"{names[0] if names else platform.processor()} ({', '.join(has)})"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"
