"""`smartbin doctor`: what is wrong with this host, each with its remedy."""

from __future__ import annotations

import contextlib
import grp
import importlib.util
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edge.actuator.gpio import Pins
from edge.actuator.options import pins_of
from edge.brokers import Broker
from edge.bundle import Bundle
from edge.cameras import shown
from edge.capture import Capture
from edge.classifier import Classifier
from edge.config import Config, check_routes
from edge.errors import SmartbinError
from edge.health import available_memory_mb, clock_synced, temperature_c, throttle_bits
from edge.mqtt import Link
from edge.parts import (
    broker_of,
    camera_spec,
    load_model,
    outbox_path,
    segmenter_of,
    tray_of,
)
from edge.values import Frame, Incoming, Item, Message
from edge.wire import Topics

Grade = Literal["good", "warning", "fault"]
CAMERA_WAIT_S = 10.0
BROKER_WAIT_S = 6.0
LEAST_DISK_MB = 200
LEAST_MEMORY_MB = 200
HOT_C = 80.0  # a Pi throttles itself from here on
TIMED_RUNS = 50
# vcgencmd get_throttled: what each bit says (Raspberry Pi documentation, "vcgencmd")
THROTTLE_NOW = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature"}
THROTTLE_PAST_SHIFT = 16


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    grade: Grade
    detail: str
    remedy: str = ""


def examine(config: Config) -> Iterator[Finding]:
    """Look at everything that `run` needs, one finding after the other; raises nothing."""
    for name, check in CHECKS.items():
        try:
            yield check(config)
        except SmartbinError as error:
            yield Finding(name, "fault", str(error).replace("\n", "; "))


def _python(_config: Config) -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    in_venv = sys.prefix != sys.base_prefix
    return Finding("python", "good", f"{version}, {'in a' if in_venv else 'in no'} venv")


def _libcamera(config: Config) -> Finding:
    if not config.camera.source.startswith("picam:"):
        return Finding("libcamera", "good", f"not needed for {shown(config.camera.source)}")
    missing = [m for m in ("libcamera", "picamera2") if importlib.util.find_spec(m) is None]
    if not missing:
        return Finding("libcamera", "good", "libcamera and picamera2 are visible")
    return Finding(
        "libcamera",
        "fault",
        f"this Python does not see {' and '.join(missing)}",
        "sudo apt install python3-picamera2, and make the venv with --system-site-packages",
    )


def _permissions(config: Config) -> Finding:
    source = config.camera.source
    if source.startswith(("folder:", "file:", "rtsp:", "http")) or os.geteuid() == 0:
        return Finding("permissions", "good", "no device group is needed")
    mine = {*os.getgroups(), os.getegid()}
    names = {group.gr_name for group in grp.getgrall() if group.gr_gid in mine}
    if "video" in names:
        return Finding("permissions", "good", "in group video")
    remedy = "sudo usermod -aG video,render USER, then log in again"
    return Finding("permissions", "warning", "this user is not in group video", remedy)


def _camera(config: Config) -> Finding:
    started_s = time.monotonic()
    with Capture(spec=camera_spec(config)) as capture:
        capture.start()
        frame = capture.next(CAMERA_WAIT_S)
    took_s = time.monotonic() - started_s
    if frame is None:
        detail = f"{shown(config.camera.source)}: no frame within {CAMERA_WAIT_S:g} s"
        return Finding("camera", "fault", detail, "check cable and source; docs/cameras.md")
    height, width = frame.pixels.shape[:2]
    level = float(frame.pixels.mean())
    detail = f"{shown(config.camera.source)}: {width}x{height}, first frame after {took_s:.1f} s"
    if level < 8:
        return Finding("camera", "warning", f"{detail}, nearly black", "light the tray")
    return Finding("camera", "good", detail)


def _model(config: Config) -> Finding:
    bundle = load_model(config)
    check_routes(config, bundle.labels)
    ms = _median_ms(bundle, config.model.threads)
    detail = f"{bundle.model_id}, {len(bundle.onnx)} bytes, {ms:.2f} ms with preprocessing"
    return Finding("model", "good", detail)


def _segmenter(config: Config) -> Finding:
    tray = tray_of(config)
    known = "a stored tray" if tray.known else "no stored tray"
    if config.segmenter.kind == "none":
        return Finding("segmenter", "good", f"none: whole frames are judged; {known}")
    with contextlib.closing(segmenter_of(config, tray, patient=True)) as segmenter:
        pixels = np.full((config.camera.height_px, config.camera.width_px, 3), 127, np.uint8)
        frame = Frame(pixels, captured_s=0.0, seq=1)
        item = Item((frame,), trigger_s=0.0, cause="frame")
        segmenter.cut(frame, item)  # the first one of rembg's starts its process
        started_s = time.perf_counter()
        note = segmenter.cut(frame, item).note
        ms = (time.perf_counter() - started_s) * 1000
    detail = f"{segmenter.name}: {ms:.1f} ms a frame; {known}"
    if "process" in note or "no mask" in note:
        remedy = "see segmenter.timeout_s and memory_mb, or choose another segmenter.kind"
        return Finding("segmenter", "warning", f"{detail}; {note}", remedy)
    if segmenter.name == "difference" and not tray.known and config.trigger.kind != "presence":
        remedy = "run smartbin tray and set tray.path; only the presence trigger learns it itself"
        return Finding("segmenter", "warning", f"{detail}; items would be judged whole", remedy)
    return Finding("segmenter", "good", detail)


def _median_ms(bundle: Bundle, threads: int) -> float:
    classifier = Classifier(bundle, threads=threads)
    pixels = np.zeros((480, 640, 3), np.uint8)
    times = []
    for _ in range(TIMED_RUNS):
        started_s = time.perf_counter()
        classifier.classify(pixels)
        times.append(time.perf_counter() - started_s)
    return float(np.median(times)) * 1000


def _broker(config: Config) -> Finding:
    broker = broker_of(config)
    try:
        address = socket.getaddrinfo(broker.host, broker.port, type=socket.SOCK_STREAM)[0][4][0]
    except OSError as error:
        remedy = "check mqtt.host and this host's DNS"
        return Finding("broker", "fault", f"{broker.host} does not resolve ({error})", remedy)
    try:
        socket.create_connection((broker.host, broker.port), BROKER_WAIT_S).close()
    except OSError as error:
        remedy = "check mqtt.port, the firewall, and that the broker runs"
        detail = f"{broker.host} is {address}, but port {broker.port} does not answer ({error})"
        return Finding("broker", "fault", detail, remedy)
    return _echo(config, broker)


def _echo(config: Config, broker: Broker) -> Finding:
    """Authenticate, publish and receive: a ping to ourselves."""
    topics = Topics(config.site.site, config.site.bin)
    connected, received = threading.Event(), threading.Event()

    def take(incoming: Incoming) -> None:
        if not incoming.retained:
            received.set()

    link = Link(
        broker=broker,
        client_id=f"smartbin-{topics.site}-{topics.bin}-doctor",
        subscriptions=(topics.commands,),
        on_connect=connected.set,
        on_message=take,
    )
    link.start()
    try:
        if not connected.wait(BROKER_WAIT_S):
            return Finding("broker", "fault", link.trouble, "see the broker's own log")
        started_s = time.monotonic()
        link.publish(Message(topics.of("cmd/ping"), b"{}", qos=1))
        if not received.wait(BROKER_WAIT_S):
            detail = f"{broker.address} lets us in, but a message to ourselves does not come back"
            remedy = "let this user write and read its own subtree in the broker's ACL"
            return Finding("broker", "warning", detail, remedy)
        ms = (time.monotonic() - started_s) * 1000
        return Finding("broker", "good", f"{broker.address}: published and received in {ms:.1f} ms")
    finally:
        link.stop()


def _clock(_config: Config) -> Finding:
    if clock_synced():
        return Finding("clock", "good", "synchronised")
    remedy = "sudo timedatectl set-ntp true; events carry clock = unsynced until then"
    return Finding("clock", "warning", "not synchronised", remedy)


def _disk(config: Config) -> Finding:
    folder = outbox_path(config).parent
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    free_mb = shutil.disk_usage(existing).free / 1e6
    remedy = "set outbox.path to a folder that smartbin may write"
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        return Finding("disk", "fault", f"{existing} cannot be written ({error.strerror})", remedy)
    if free_mb < LEAST_DISK_MB:
        detail = f"{existing}: {free_mb:.0f} MB free, under {LEAST_DISK_MB}"
        return Finding("disk", "warning", detail, "free some space")
    return Finding("disk", "good", f"{existing}: {free_mb / 1000:.1f} GB free")


def _memory(_config: Config) -> Finding:
    free_mb = available_memory_mb()
    if free_mb is not None and free_mb < LEAST_MEMORY_MB:
        return Finding("memory", "warning", f"{free_mb:.0f} MB available", "stop other programs")
    detail = "unknown" if free_mb is None else f"{free_mb:.0f} MB available"
    return Finding("memory", "good", detail)


def _power(_config: Config) -> Finding:
    bits, hottest_c = throttle_bits(), temperature_c()
    if hottest_c is not None and hottest_c >= HOT_C:
        return Finding("power", "warning", f"{hottest_c:.0f} degrees C", "give it air or a fan")
    if bits is None:
        return Finding("power", "good", "no Raspberry Pi firmware to ask")
    now = [text for bit, text in THROTTLE_NOW.items() if bits >> bit & 1]
    past = [text for bit, text in THROTTLE_NOW.items() if bits >> THROTTLE_PAST_SHIFT + bit & 1]
    if now or past:
        detail = f"now: {', '.join(now) or 'none'}; since boot: {', '.join(past) or 'none'}"
        return Finding("power", "warning", detail, "a stronger supply, a shorter cable, a fan")
    return Finding("power", "good", "no under-voltage, no throttling")


def _actuator(config: Config) -> Finding:
    """Each pin that cannot be had, in a sentence of its own."""
    actuator = config.actuator
    pins = {pin for device in actuator.devices.values() for _, pin in pins_of(device)}
    named = ", ".join(f"{name} ({d.kind})" for name, d in actuator.devices.items())
    if actuator.mode == "off" or not pins:
        return Finding("actuator", "good", f"{actuator.mode}; {named or 'no devices here'}")
    grade: Grade = "fault" if actuator.mode == "local" else "warning"
    elsewhere = "" if actuator.mode == "local" else "if it runs on another board, look there; "
    try:
        board = Pins()
    except SmartbinError as error:
        return Finding("actuator", grade, str(error), f"{elsewhere}docs/actuators.md")
    troubles = [trouble for pin in sorted(pins) if (trouble := board.trouble(pin))]
    if not troubles:
        return Finding("actuator", "good", f"{named}; GPIO {', '.join(map(str, sorted(pins)))}")
    remedy = f"{elsewhere}if it is smartbin itself that moves them now, all is well"
    return Finding("actuator", grade, "; ".join(troubles), remedy)


CHECKS: dict[str, Callable[[Config], Finding]] = {
    "python": _python,
    "libcamera": _libcamera,
    "permissions": _permissions,
    "camera": _camera,
    "model": _model,
    "segmenter": _segmenter,
    "broker": _broker,
    "clock": _clock,
    "disk": _disk,
    "memory": _memory,
    "power": _power,
    "actuator": _actuator,
}
