"""Orders from outside: commands in masses, files changed under the daemon, signals."""

from __future__ import annotations

import re
import signal
import threading
import time
from pathlib import Path

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.faults.bin import Bin
from tests.faults.conftest import MakeBin
from tests.faults.ledger import enter, line_of
from tests.faults.monitor import ROOT_TOPIC, Monitor
from tests.faults.proxy import Proxy
from tests.faults.test_faults_camera import CAMERA, play, scripted
from tests.harness import Mosquitto, wait_for

pytestmark = pytest.mark.mosquitto
STORM = 1000


def rss_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def ask(monitor: Monitor, verb: str) -> None:
    """A command that wants an answer, on answers/VERB."""
    wish = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    wish.ResponseTopic = f"answers/{verb}"
    monitor.send(f"{ROOT_TOPIC}/cmd/{verb}", b"", wish)


def test_storm_of_triggers_is_answered_or_counted(broker: Mosquitto, make_bin: MakeBin) -> None:
    """Each of a thousand gets an answer or a line in the log; memory and work are bounded."""
    bin_ = make_bin(broker.start().port, monitor_port=broker.port)
    bin_.configure("trigger", kind="command")
    daemon = bin_.start()
    bin_.wait_log("state: ready")
    monitor, before_mb = bin_.monitor, rss_mb(daemon.pid)
    assert monitor
    for _ in range(STORM):
        ask(monitor, "trigger")
    wait_for(lambda: heard_of(bin_) >= STORM, what="an answer or a line for each")
    ask(monitor, "ping")
    wait_for(
        lambda: any(b"pong" in answer for answer in monitor.of("answers")),
        what="an answer after the storm",
    )
    assert rss_mb(daemon.pid) - before_mb < 30
    sees = line_of(bin_.log, "wait already|wait for frames already")
    row = enter("1,000 trigger commands at once", sees, bin_.close_books())
    assert row.decided < 200


def heard_of(bin_: Bin) -> int:
    assert bin_.monitor
    dropped = re.findall(r"(\d+) commands were dropped", bin_.log)
    return len(bin_.monitor.of("answers")) + sum(map(int, dropped))


@pytest.mark.slow
def test_commands_without_end_do_not_stop_the_work(broker: Mosquitto, make_bin: MakeBin) -> None:
    """However fast they come, every turn of the loop takes in a frame."""
    bin_ = make_bin(broker.start().port, monitor_port=broker.port)
    bin_.start(faults={"item_s": 0.1})
    bin_.wait_items(5)
    monitor, over = bin_.monitor, threading.Event()
    assert monitor

    def flood() -> None:
        while not over.wait(0.01):
            for _ in range(200):
                monitor.send(f"{ROOT_TOPIC}/cmd/ping")

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        bin_.wait_log("wait already")
        bin_.wait_items(20)
    finally:
        over.set()
        thread.join()
    sees = line_of(bin_.log, "wait already")
    enter("commands without end", sees, bin_.close_books(30))


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("model file truncated", "sha256|hash"),
        pytest.param("model file swapped", "sha256|hash", marks=pytest.mark.slow),
    ],
)
def test_model_spoiled_while_running(
    broker: Mosquitto, make_bin: MakeBin, fault: str, sentence: str
) -> None:
    """The one in memory works on; the file is refused at the next start, and nothing is lost."""
    bin_ = make_bin(broker.start().port, monitor_port=broker.port)
    model = bin_.folder / "models" / "tiny.onnx"
    good = model.read_bytes()
    bin_.start()
    bin_.wait_items(5)
    model.write_bytes(good[: len(good) // 2] if "truncated" in fault else good[::-1])
    bin_.wait_items(10)
    assert bin_.stop() == 0
    assert bin_.start().wait() == 1
    sees = line_of(bin_.log, sentence)
    model.write_bytes(good)
    bin_.start()
    bin_.wait_items(5)
    enter(fault, sees, bin_.close_books())


@pytest.mark.slow
def test_reload_of_a_broken_configuration(broker: Mosquitto, make_bin: MakeBin) -> None:
    """All of the old one stays in force."""
    bin_ = make_bin(broker.start().port, monitor_port=broker.port)
    bin_.start()
    bin_.wait_items(5)
    good = bin_.config.read_text()
    bin_.config.write_text(good.replace("[routes]", "[ruotes]").replace("left", "right"))
    bin_.daemon.send(signal.SIGHUP)
    bin_.wait_log("the old configuration is kept")
    bin_.wait_items(10)
    assert "-> right" not in bin_.log
    sees = line_of(bin_.log, "the old configuration is kept")
    enter("reload of a broken configuration", sees, bin_.close_books())


def stop_in_time(bin_: Bin) -> None:
    """SIGTERM; it is gone within the five seconds promised, thrice that on a busy machine."""
    began_s = time.monotonic()
    assert bin_.stop() == 0
    assert time.monotonic() - began_s < 15


def farewell(bin_: Bin) -> str:
    assert bin_.monitor
    wait_for(lambda: bin_.monitor.states()[-1]["state"] == "stopped", what="the farewell")
    last = bin_.monitor.states()[-1]
    return f"state {last['state']}: {last['reason']}"


def test_sigterm_in_the_middle_of_an_item(broker: Mosquitto, make_bin: MakeBin) -> None:
    """The item is finished, told and recorded."""
    bin_ = make_bin(broker.start().port, monitor_port=broker.port)
    bin_.start(faults={"item_s": 0.7})
    bin_.wait_items(1)
    begun = bin_.log.count("judging begins")
    wait_for(lambda: bin_.log.count("judging begins") > begun, what="the next item")
    stop_in_time(bin_)
    assert bin_.log.count("judging begins") == bin_.items == begun + 1
    enter("SIGTERM in the middle of an item", farewell(bin_), bin_.close_books())


@pytest.mark.slow
def test_sigterm_with_everything_hanging(
    broker: Mosquitto, proxy: Proxy, make_bin: MakeBin
) -> None:
    """Camera hung, broker half-open: still in time; the rest is sent after the next start."""
    bin_, script = scripted(make_bin, broker, "good")
    bin_.configure("mqtt", port=proxy.port)
    bin_.start(faults=CAMERA)
    bin_.wait_items(10)
    proxy.silence(True)
    bin_.wait_items(5)
    play(script, "hung")
    bin_.wait_log("state: degraded")
    time.sleep(0.6)  # into the restart, which waits for the hung process
    stop_in_time(bin_)
    sees = line_of(bin_.log, "camera: no frame")
    proxy.silence(False)
    play(script, "good")
    bin_.start(faults=CAMERA)
    bin_.wait_items(5)
    enter("SIGTERM with camera hung and broker half-open", sees, bin_.close_books())
