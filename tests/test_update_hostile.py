"""Servers, disks and clocks that mean ill, against the updater: each ends in one sentence."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import json
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("tuf")
pytest.importorskip("onnx")

from edge.bundle import load_bundle
from edge.decide import Decision
from edge.update import checks, clocked, fetcher
from edge.update.errors import UpdateError
from edge.update.repository import Repository
from edge.update.start import active_bundle
from edge.update.store import ModelStore
from edge.update.updater import Updater
from tests import updates
from tests.harness import wait_for

Answer = Callable[[Callable[[bytes], object]], None]
HEAD = b"HTTP/1.1 200 OK\r\n"
DRIP_S = 0.02


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder with a repository of versions 4 and 5 under web, and version 3 beside it."""
    updates.tiny_bundle(tmp_path / "made", 3)
    repository = updates.begin(tmp_path / "web")
    for version in (4, 5):
        repository.release(updates.tiny_bundle(tmp_path / "made", version))
    return tmp_path


def opened(made: Path, url: str) -> Repository:
    root = (made / "web" / "root.json").read_bytes()
    return Repository(url=url, root=root, folder=made / "bin" / "tuf")


def fetched(made: Path, url: str, version: int = 4) -> bytes:
    repository = opened(made, url)
    return repository.fetch(repository.release(updates.NAME, version))[".onnx"]


def network_of(made: Path, version: int = 4) -> bytes:
    return (made / "made" / str(version) / "tiny.onnx").read_bytes()


@contextmanager
def answering(answer: Answer) -> Iterator[str]:
    """A server that says to every request what `answer` sends, until the line is cut."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            with contextlib.suppress(OSError):  # cut by the other side
                answer(self.wfile.write)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def dripping(first: bytes, again: bytes) -> Answer:
    def answer(send: Callable[[bytes], object]) -> None:
        send(first)
        while True:
            send(again)
            time.sleep(DRIP_S)

    return answer


DRIPS = {
    "status line": (b"HTTP/1.1 2", b"0"),
    "header": (HEAD + b"X-Long: ", b"x"),
    "body": (HEAD + b"Content-Length: 10000\r\n\r\n", b" "),
    "length of a chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    "trailers": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-More: x\r\n"),
}


@pytest.mark.parametrize("where", DRIPS)
def test_a_server_that_drips_is_left(
    made: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte now and then is in time for every wait, and would hold the bin for days."""
    monkeypatch.setattr(clocked, "HEAD_S", 0.5)
    monkeypatch.setattr(fetcher, "METADATA_S", 0.5)
    with (
        answering(dripping(*DRIPS[where])) as url,
        pytest.raises(UpdateError, match="the server is too slow"),
    ):
        opened(made, url)


def test_a_compressed_answer_is_not_unpacked(made: Path) -> None:
    """A few bytes that would become a gigabyte stay the few bytes that they are."""
    bomb = gzip.compress(b"\0" * 50_000_000)
    head = HEAD + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n"
    with (
        answering(lambda send: send(head + bomb)) as url,  # type: ignore[func-returns-value]
        pytest.raises(UpdateError, match=r"longer than its signed length|does not hold"),
    ):
        opened(made, url)


def test_a_list_without_end_is_cut_at_its_length(made: Path) -> None:
    """No list says how long the first one is: a bound of the bin's own ends it."""
    with updates.serving(made / "web") as server:
        server.endless.add("timestamp.json")
        with pytest.raises(UpdateError, match="longer than its signed length"):
            opened(made, server.url)


def test_a_server_that_goes_away_half_way_and_comes_back(made: Path) -> None:
    """What was fetched stays, and only the rest is asked for."""
    with updates.serving(made / "web") as server:
        server.cut_after["tiny.onnx"] = 40
        repository = opened(made, server.url)
        release = repository.release(updates.NAME, 4)
        with pytest.raises(UpdateError, match="cannot be fetched"):
            repository.fetch(release)
    parts = list((made / "bin" / "tuf" / "partial").glob("part-*"))
    assert [part.stat().st_size for part in parts] == [4 * 40]
    with updates.serving(made / "web") as server:
        parts[0].rename(parts[0].with_name(_part_of(server.url, made)))
        assert fetched(made, server.url) == network_of(made)
        asked = [wanted for path, wanted in server.asked if "tiny.onnx" in path]
    assert asked == ["bytes=160-"]


def _part_of(url: str, made: Path) -> str:
    """The partial file of version 4 at a server; the test's comes back at another port."""
    import hashlib

    name = next((made / "web" / "targets" / "tiny" / "4").glob("*.onnx")).name
    whole = f"{url}/targets/tiny/4/{name}"
    return f"part-{hashlib.sha256(whole.encode()).hexdigest()[:24]}"


def test_what_was_begun_and_is_not_wanted_goes(made: Path) -> None:
    """Half a version that was withdrawn does not lie on the bin's disk for ever."""
    with updates.serving(made / "web") as server:
        server.cut_after["/4/"] = 40
        with pytest.raises(UpdateError, match="cannot be fetched"):
            fetched(made, server.url)
        partial = made / "bin" / "tuf" / "partial"
        assert list(partial.glob("part-*"))
        assert fetched(made, server.url, 5) == network_of(made, 5)
        assert not list(partial.iterdir())


def test_an_address_that_has_targets_in_it(made: Path) -> None:
    """Lists are never continued, wherever on the server the repository lies."""
    (made / "web").rename(made / "moved")
    (made / "deep" / "targets").mkdir(parents=True)
    (made / "moved").rename(made / "deep" / "targets" / "web")
    (made / "web").symlink_to(made / "deep" / "targets" / "web")
    with updates.serving(made / "deep") as server:
        server.cut_after["timestamp.json"] = 20
        with pytest.raises(UpdateError):
            opened(made, f"{server.url}/targets/web")
        assert not list((made / "bin" / "tuf" / "partial").iterdir())
        server.cut_after.clear()
        assert fetched(made, f"{server.url}/targets/web") == network_of(made)


@pytest.mark.parametrize("left", [b"", b"{", b"\0" * 500])
def test_lists_that_a_power_cut_spoiled_are_fetched_again(made: Path, left: bytes) -> None:
    """Whatever is left of the lists that the bin has seen, the next attempt goes through."""
    with updates.serving(made / "web") as server:
        opened(made, server.url)
        folder = made / "bin" / "tuf" / "metadata"
        lists = [path for path in folder.rglob("*.json") if not path.is_symlink()]
        assert {"timestamp.json", "snapshot.json", "targets.json"} <= {p.name for p in lists}
        for path in lists:
            whole = path.read_bytes()
            path.write_bytes(left)
            assert fetched(made, server.url) == network_of(made), path.name
            assert path.read_bytes() == whole
        for path in lists:
            path.write_bytes(left)
        assert fetched(made, server.url) == network_of(made)


def test_a_clock_of_before_the_model_is_no_clock() -> None:
    """In 1970 no list has expired, so none is asked for; a day of slack, and then it goes on."""
    bundle = dataclasses.replace(_bundle(), card={"created": "2026-11-20T13:24:37Z"})
    made_s = 1795181077.0
    with pytest.raises(UpdateError, match=r"clock says 1970-01-01, but .* made on 2026-11-20"):
        checks.check_clock(bundle, 60.0)
    with pytest.raises(UpdateError) as fault:
        checks.check_clock(bundle, made_s - 2 * 86400)
    assert not fault.value.lasting
    checks.check_clock(bundle, made_s - 3600)
    checks.check_clock(dataclasses.replace(bundle, card={}), 60.0)
    checks.check_clock(dataclasses.replace(bundle, card={"created": "soon"}), 60.0)


def test_a_model_made_in_the_future_is_not_let_in() -> None:
    """It would hold back every later one until that day, by the rule above."""
    bundle = dataclasses.replace(_bundle(), card={"created": "2027-06-01T00:00:00Z"})
    made_s = 1811808000.0
    with pytest.raises(UpdateError, match=r"made on 2027-06-01, and the clock says 2026-"):
        checks.check_made(bundle, made_s - 160 * 86400)
    checks.check_made(bundle, made_s - 3600)
    checks.check_made(bundle, made_s + 86400)
    checks.check_made(dataclasses.replace(bundle, card={}), 60.0)


def _bundle() -> checks.Bundle:
    from edge.shipped import shipped

    return load_bundle(shipped("models/student.int8.onnx"))


def test_a_worse_model_is_left_although_the_disk_cannot_be_written(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way back needs no disk; in the next start, where it still cannot be written, neither."""
    import edge.update.store as store_module

    store = ModelStore(made / "bin")
    files = {s: (made / "made" / "4" / f"tiny{s}").read_bytes() for s in (".onnx", ".json")}
    store.start_trial(
        store.add(4, "tiny", files, lambda text: None), "test", abstained_before=1, items_before=50
    )
    shipped = lambda: load_bundle(made / "made" / "3" / "tiny.onnx")  # noqa: E731
    updater = Updater(
        store=store,
        source=lambda step: opened(made, "http://127.0.0.1:9"),
        fallback=shipped,
        running=updates.running(made / "made" / "4" / "tiny.onnx"),
        judge=updates.judging,
        plan=updates.plan_of(trial_items=100),
    )

    def read_only(path: Path, data: bytes) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(store_module, "_write_through", read_only)
    updater.start()
    unsure = Decision("unknown", "red", "safe", 0.4, (("red", 0.4),), "")
    phases: list[str] = []

    def told() -> bool:
        updater.observe([updates.crop_of("red")], unsure)
        phases.extend(note.phase for note in updater.notes())
        return "rolled_back" in phases

    wait_for(told, what=f"a way back, told were {phases}", timeout_s=120)
    swap = updater.swap()
    updater.close()
    assert swap is not None
    assert swap.bundle.version == 3
    assert 4 in store.state.refused
    assert active_bundle(ModelStore(made / "bin"), shipped).version == 3


def test_a_list_of_signatures_without_end_is_no_list(made: Path) -> None:
    """Brackets in brackets, which a parser would follow until its stack ends."""
    place = made / "web" / "metadata" / "timestamp.json"
    place.write_bytes(b"[" * 16_000)
    with (
        updates.serving(made / "web") as server,
        pytest.raises(UpdateError, match="does not hold"),
    ):
        opened(made, server.url)
    place.write_text(json.dumps({"signatures": [], "signed": {}}))
    with (
        updates.serving(made / "web") as server,
        pytest.raises(UpdateError, match="does not hold"),
    ):
        opened(made, server.url)
