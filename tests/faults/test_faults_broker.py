"""Brokers and networks that are away, slow, silent, or will not let the bin in."""

from __future__ import annotations

import datetime as dt
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.bin import Bin
from tests.faults.conftest import Broker, MakeBin, make_broker
from tests.faults.ledger import enter, line_of
from tests.faults.monitor import Monitor
from tests.faults.proxy import Proxy
from tests.harness import Listener, Mosquitto, free_port, wait_for
from tests.test_security import DAY, NOW, Certificates

pytestmark = pytest.mark.mosquitto


def test_broker_absent_at_start(broker: Mosquitto, proxy: Proxy, make_bin: MakeBin) -> None:
    """Nothing listens; the record begins with the first decision all the same."""
    proxy.refuse()
    bin_ = make_bin(proxy.port, monitor_port=broker.start().port)
    bin_.start()
    bin_.wait_items(20)
    proxy.admit()
    bin_.wait_log("mqtt: connected")
    bin_.wait_items(3)
    sees = line_of(bin_.log, "cannot reach")
    enter("broker absent at start", sees, bin_.close_books())


@pytest.mark.slow
def test_broker_restarted(broker: Mosquitto, make_bin: MakeBin) -> None:
    """Three times; it keeps its sessions, the bin keeps its events."""
    bin_ = make_bin(broker.start().port, monitor_port=broker.port)
    bin_.start()
    bin_.wait_items(10)
    for _ in range(3):
        broker.stop()
        bin_.wait_items(10)
        welcomes = bin_.log.count("mqtt: connected")
        broker.start()
        wait_for(lambda n=welcomes: bin_.log.count("mqtt: connected") > n, what="the bin's return")
        bin_.wait_items(5)
    sees = line_of(bin_.log, "mqtt: lost")
    enter("broker restarted", sees, bin_.close_books(30))


def test_wiped_broker_hears_of_state_and_birth_again(
    broker: Mosquitto, proxy: Proxy, make_bin: MakeBin, listen: Callable[..., Listener]
) -> None:
    """It forgot everything: sessions, retained messages; the bin tells them anew."""
    bin_ = make_bin(proxy.port, monitor_port=broker.start().port)
    bin_.start()
    bin_.wait_items(10)
    proxy.refuse()
    wipe(broker, bin_)
    assert not listen(broker.port).rows
    proxy.admit()
    bin_.wait_items(10)
    wait_for(lambda: len(bin_.log.split("mqtt: connected")) == 3, what="the bin's return")
    early = listen(broker.port)  # which may be there before they are told
    wait_for(lambda: early.of("state") and early.of("birth"), what="state and birth")
    late = listen(broker.port)
    wait_for(lambda: late.of("state") and late.of("birth"), what="state and birth, retained")
    assert late.of("state")[0]["retain"] == 1 and late.of("birth")[0]["retain"] == 1
    sees = line_of(bin_.log, "mqtt: lost")
    enter("broker wiped", sees, bin_.close_books())


def wipe(broker: Mosquitto, bin_: Bin) -> None:
    """Stop it once the monitor has what it took, and start it with an empty memory."""
    monitor = bin_.monitor
    assert monitor
    monitor.send("bins/marker")
    wait_for(lambda: monitor.of("marker"), what="everything that the broker has taken")
    welcomes = monitor.welcomes
    broker.stop()
    (broker.folder / "mosquitto.db").unlink()
    broker.start()
    wait_for(lambda: monitor.welcomes > welcomes, what="the monitor's return")


@pytest.mark.slow
def test_refused_password_then_right(
    tmp_path: Path, make_bin: MakeBin, make_monitor: Callable[[int], Monitor]
) -> None:
    """The broker learns the password while the bin runs; nobody restarts the bin."""
    passwords = tmp_path / "passwords"
    set_password(passwords, "another", create=True)
    folder = tmp_path / "broker"
    folder.mkdir()
    monitor_port = free_port()
    plain = (f"listener {monitor_port} 127.0.0.1", "allow_anonymous true")
    login = ("per_listener_settings true", f"password_file {passwords}", "allow_anonymous false")
    broker = make_broker(folder, *login, *plain)
    broker.start()
    bin_ = make_bin(broker.port, monitor_port=monitor_port)
    bin_.configure("mqtt", username="bin")
    bin_.start(SMARTBIN_MQTT_PASSWORD="the-right-one")
    bin_.wait_log("refuses the connection")
    bin_.wait_items(10)
    set_password(passwords, "the-right-one")
    broker.reload()
    bin_.wait_log("mqtt: connected")
    sees = line_of(bin_.log, "refuses the connection")
    enter("broker refuses the password", sees, bin_.close_books())
    assert "the-right-one" not in bin_.log


def set_password(passwords: Path, secret: str, *, create: bool = False) -> None:
    flags = ["-c"] if create else []
    command = ["mosquitto_passwd", *flags, "-b", str(passwords), "bin", secret]
    subprocess.run(command, check=True, timeout=200)


@pytest.mark.slow
def test_half_open_connection(broker: Mosquitto, proxy: Proxy, make_bin: MakeBin) -> None:
    """No packet passes and no one says so: the keepalive finds out, within twice its time."""
    bin_ = make_bin(proxy.port, monitor_port=broker.start().port)
    bin_.configure("mqtt", keepalive_s=5)
    bin_.start()
    bin_.wait_items(10)
    proxy.silence(True)
    bin_.wait_log("mqtt: lost")
    # Which of the two it says depends on whose patience, paho's or ours, ends the quicker.
    wait_for(
        lambda: re.search("does not answer as|hangs up before an answer", bin_.log),
        what="an attempt in vain",
    )
    proxy.silence(False)
    wait_for(lambda: bin_.log.count("mqtt: connected") == 2, what="the bin's return")
    bin_.wait_items(5)
    sees = line_of(bin_.log, "mqtt: lost")
    enter("half-open connection", sees, bin_.close_books())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("delay_s", "fault"), [(0.15, "round trip of 300 ms"), (0.5, "round trip of 1 s")]
)
def test_slow_broker(
    broker: Mosquitto, proxy: Proxy, make_bin: MakeBin, delay_s: float, fault: str
) -> None:
    """An acknowledgement takes a round trip; decisions do not wait for it."""
    proxy.delay_s = delay_s
    bin_ = make_bin(proxy.port, monitor_port=broker.start().port)
    bin_.start()
    bin_.wait_items(40)
    wait_for(lambda: bin_.log.count("acknowledge"), what="the remark on slowness")
    sees = line_of(bin_.log, "acknowledge")
    bin_.settle()
    enter(fault, sees, bin_.close_books())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("days", "fault"), [(-9, "certificate expired"), (1, "certificate not yet valid")]
)
def test_bad_certificate_then_a_good_one(
    tmp_path: Path, make_bin: MakeBin, days: int, fault: str
) -> None:
    """The bin never talks to a broker it cannot trust, and needs no restart once it can."""
    certificates = Certificates(tmp_path)
    start = NOW + days * DAY
    broker, monitor_port = tls_broker(certificates, not_before=start, not_after=start + 8 * DAY)
    bin_ = make_bin(broker.start().port, monitor_port=monitor_port)
    bin_.configure("mqtt", host="localhost", tls=True, ca_file=str(tmp_path / "ca.pem"))
    bin_.start()
    bin_.wait_log("shows a bad certificate")
    bin_.wait_items(10)
    broker.stop()
    certificates.issue("broker", "localhost")
    broker.start()
    bin_.wait_log("mqtt: connected")
    bin_.wait_items(5)
    sees = line_of(bin_.log, "shows a bad certificate")
    enter(fault, sees, bin_.close_books())


def tls_broker(certificates: Certificates, **validity: dt.datetime) -> tuple[Broker, int]:
    """TLS for the bin; the monitor has a listener of its own."""
    certificate, key = certificates.issue("broker", "localhost", **validity)
    folder = certificates.folder / "broker"
    folder.mkdir()
    monitor_port = free_port()
    tls = (f"certfile {certificate}", f"keyfile {key}")
    return make_broker(folder, *tls, f"listener {monitor_port} 127.0.0.1"), monitor_port


def test_name_that_does_not_resolve_then_does(
    broker: Mosquitto, make_bin: MakeBin, tmp_path: Path
) -> None:
    """The bin lives in a mount namespace with files of its own over /etc/hosts and resolv.conf."""
    hosts, resolver = tmp_path / "hosts", tmp_path / "resolv.conf"
    hosts.write_text("127.0.0.1 localhost\n")
    resolver.write_text("nameserver 127.0.0.1\n")
    over = f"mount --bind {hosts} /etc/hosts && mount --bind {resolver} /etc/resolv.conf"
    if subprocess.run(["unshare", "-m", "sh", "-c", over], capture_output=True).returncode:
        pytest.skip("a mount namespace can be made by root alone")
    bin_ = make_bin(broker.start().port, monitor_port=broker.port)
    bin_.configure("mqtt", host="broker.smartbin.test")
    bin_.start(prefix=["unshare", "-m", "sh", "-c", f'{over} && exec "$@"', "sh"])
    bin_.wait_log("cannot reach broker.smartbin.test")
    bin_.wait_items(10)
    with hosts.open("a") as file:
        file.write("127.0.0.1 broker.smartbin.test\n")
    bin_.wait_log("mqtt: connected")
    sees = line_of(bin_.log, "cannot reach")
    enter("name not resolved", sees, bin_.close_books())
