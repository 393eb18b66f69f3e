"""TLS, passwords and ACLs as they ship, against a real Mosquitto."""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from tests.harness import ROOT, SEARCH, Listener, Mosquitto, RunningDaemon, wait_for

pytestmark = pytest.mark.mosquitto
Write = Callable[..., Path]
Run = Callable[..., RunningDaemon]
NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)


class Certificates:
    """A CA of the test's own, and what it signs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = trustme.CA()
        self.ca.cert_pem.write_to_path(str(folder / "ca.pem"))

    def issue(self, name: str, host: str, **validity: dt.datetime) -> tuple[Path, Path]:
        """Certificate and key files."""
        issued = self.ca.issue_cert(host, common_name=host, **validity)
        certificate, key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        certificate.write_bytes(b"".join(p.bytes() for p in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(key))
        return certificate, key

    def broker(self, *extra: str, host: str = "localhost", **validity: dt.datetime) -> Mosquitto:
        """A Mosquitto that speaks TLS alone."""
        certificate, key = self.issue("broker", host, **validity)
        tls = (f"cafile {self.folder}/ca.pem", f"certfile {certificate}", f"keyfile {key}")
        return Mosquitto(self.folder, *tls, *extra).start()


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


@pytest.fixture
def tls_config(write_config: Write, tmp_path: Path) -> Write:
    def write(port: int, ca: Path | None = None, extra: str = "") -> Path:
        path = write_config(port)
        tls = f'[mqtt]\nhost = "localhost"\ntls = true\nca_file = "{ca or tmp_path / "ca.pem"}"\n'
        path.write_text(path.read_text().replace("[mqtt]\n", tls + extra))
        return path

    return write


def test_tls_connects_with_the_right_ca(
    certificates: Certificates, tls_config: Write, run_daemon: Run
) -> None:
    """The plain good case."""
    broker = certificates.broker()
    daemon = run_daemon(tls_config(broker.port))
    wait_for(lambda: "with TLS, version 5" in daemon.log, what="a connection")
    broker.stop()


@pytest.mark.parametrize(
    ("fault", "part"),
    [
        ("expired", "certificate has expired"),
        ("not yet valid", "certificate is not yet valid"),
        ("other name", "Hostname mismatch"),
        ("other ca", "certificate"),
    ],
)
def test_bad_certificate_is_a_sentence_and_the_bin_runs_on(
    certificates: Certificates, tls_config: Write, run_daemon: Run, fault: str, part: str
) -> None:
    """Never connected, never silent, and decisions go on."""
    validity = {
        "expired": {"not_before": NOW - 9 * DAY, "not_after": NOW - DAY},
        "not yet valid": {"not_before": NOW + DAY, "not_after": NOW + 9 * DAY},
    }.get(fault, {})
    host = "elsewhere.example" if fault == "other name" else "localhost"
    broker = certificates.broker(host=host, **validity)
    ca = None
    if fault == "other ca":
        ca = certificates.folder / "other.pem"
        trustme.CA().cert_pem.write_to_path(str(ca))
    daemon = run_daemon(tls_config(broker.port, ca))
    wait_for(lambda: "shows a bad certificate" in daemon.log, what="the refusal")
    assert part in daemon.log
    wait_for(lambda: daemon.log.count("item ") >= 3, what="decisions all the same")
    assert "mqtt: connected" not in daemon.log
    broker.stop()


def test_client_certificate_is_asked_for_and_given(
    certificates: Certificates, tls_config: Write, run_daemon: Run
) -> None:
    """Without one the sentence names the option; with one the bin is let in."""
    broker = certificates.broker("require_certificate true", "use_identity_as_username true")
    daemon = run_daemon(tls_config(broker.port))
    wait_for(lambda: "mqtt.cert_file" in daemon.log, what="the hint")
    daemon.close()
    certificate, key = certificates.issue("client", "bin-1")
    extra = f'cert_file = "{certificate}"\nkey_file = "{key}"\n'
    daemon = run_daemon(tls_config(broker.port, extra=extra))
    wait_for(lambda: "mqtt: connected" in daemon.log, what="a connection")
    broker.stop()


class Fleet:
    """A broker with the ACL that ships and bins made by the provisioning command."""

    def __init__(self, folder: Path) -> None:
        self.passwords = folder / "passwords"
        self.secrets = {}
        for name in ("b1", "b2"):
            add = [ROOT / "systemd/mosquitto/add-bin", "test", name, self.passwords]
            subprocess.run(add, check=True, cwd=folder, env={"PATH": SEARCH})
            self.secrets[f"test/{name}"] = (folder / f"test@{name}.password").read_text()
        subprocess.run(["mosquitto_passwd", "-b", self.passwords, "fleet", "watch"], check=True)
        self.secrets["fleet"] = "watch"
        acl = f"acl_file {ROOT / 'systemd/mosquitto/acl'}"
        password_file = f"password_file {self.passwords}"
        self.broker = Mosquitto(folder, "allow_anonymous false", password_file, acl).start()

    def login(self, user: str) -> tuple[str, ...]:
        return ("-u", user, "-P", self.secrets[user])

    def publish(self, user: str, topic: str, payload: str) -> None:
        command = [shutil.which("mosquitto_pub", path=SEARCH), "-p", str(self.broker.port)]
        rest = ["-q", "1", "-t", topic, "-m", payload, *self.login(user)]
        subprocess.run([*command, *rest], check=False, timeout=200)  # type: ignore[list-item]


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(tmp_path)
    yield made
    made.broker.stop()


def test_a_bin_writes_only_its_own_subtree(fleet: Fleet, listen: Callable[..., Listener]) -> None:
    """The monitor hears bin 1 as bin 1, and never as bin 2."""
    monitor = listen(fleet.broker.port, "bins/#", *fleet.login("fleet"))
    fleet.publish("test/b1", "bins/v1/test/b2/state", '"spoofed"')
    fleet.publish("test/b1", "bins/v1/test/b2/cmd/pause", '"spoofed"')
    fleet.publish("test/b1", "bins/v1/test/b1/state", '"own"')
    wait_for(lambda: monitor.rows, what="the bin's own message")
    assert [row["payload"] for row in monitor.rows] == ["own"]


def test_a_bin_hears_only_its_own_commands(fleet: Fleet, listen: Callable[..., Listener]) -> None:
    """Subscribing to everything gives a bin its own commands and acks, nothing of others."""
    nosy = listen(fleet.broker.port, "bins/#", *fleet.login("test/b1"))
    for topic in ("b2/cmd/pause", "b2/event", "b2/state", "b1/event", "b1/cmd/pause", "b1/ack"):
        fleet.publish("fleet", f"bins/v1/test/{topic}", f'"{topic}"')
    wait_for(lambda: len(nosy.rows) >= 2, what="own commands")
    assert [row["payload"] for row in nosy.rows] == ["b1/cmd/pause", "b1/ack"]


def test_the_daemon_works_within_the_acl(
    fleet: Fleet, write_config: Write, run_daemon: Run, listen: Callable[..., Listener]
) -> None:
    """With the password from a systemd credential; it is in no log and no argument."""
    credentials = fleet.broker.folder / "credentials"
    credentials.mkdir()
    secret = fleet.secrets["test/b1"]
    (credentials / "mqtt-password").write_text(secret + "\n")
    config = write_config(fleet.broker.port)
    login = '[mqtt]\nusername = "test/b1"\n'
    config.write_text(config.read_text().replace("[mqtt]\n", login))
    monitor = listen(fleet.broker.port, "bins/#", *fleet.login("fleet"))
    daemon = run_daemon(config, CREDENTIALS_DIRECTORY=str(credentials))
    wait_for(lambda: monitor.of("event") and monitor.of("birth"), what="events")
    fleet.publish("fleet", "bins/v1/test/b1/cmd/ping", "")
    wait_for(lambda: "command ping: pong" in daemon.log, what="the command")
    assert "refuses" not in daemon.log and secret not in daemon.log
    arguments = Path(f"/proc/{daemon.pid}/cmdline").read_bytes()
    assert secret.encode() not in arguments


def test_wrong_names_are_refused_by_the_provisioning_command(tmp_path: Path) -> None:
    """A slash or a wildcard in a name would open other subtrees."""
    for site, name in (("a/b", "c"), ("a", "#"), ("+", "c"), ("", "c"), ("-a", "c")):
        add = [ROOT / "systemd/mosquitto/add-bin", site, name, tmp_path / "pw"]
        result = subprocess.run(add, capture_output=True, text=True, cwd=tmp_path)
        assert result.returncode == 2 and "letters, digits" in result.stderr
    assert not (tmp_path / "pw").exists()
