"""A bin's unsure items become training data: python -m tools.learning_loop --site DIR --out DIR

Real parts from end to end: a daemon whose camera plays the site's pictures, keeps and sends every
item with hands hidden; Mosquitto; `smartbin fleet`, which stores them; a person's answers through
the page's own login and forms (the truth is the folder that a picture came from); the page's
export; `smartbin-train gather`. With --learn, --data and --base also `smartbin-train learn`.

DIR holds one folder a class. Pictures are played by name, so names that begin with their moment
keep neighbours together.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.cookiejar import CookieJar
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge.fleet.database import Database
from edge.fleet.users import Users
from edge.pictures import decode_picture, list_pictures, read_picture
from edge.preprocess import centre_crop, resize_down
from edge.uncertain.collector import KEPT_H, KEPT_W
from edge.values import Pixels
from tests.harness import Mosquitto, free_port, wait_for

PLAYED_PER_S = 2.0
QUIET_S = 30.0  # nothing new for so long: all that will come has come
THUMB = (32, 24)
MOST_APART = 20.0  # levels of 255 between a picture and what came of it, hidden parts included
NAME, PASSWORD = "ann", "a person who labels"
FORM = re.compile(r"/gallery/(\d+)\.jpg")
TOKEN = re.compile(r'name="csrf" value="([^"]+)"')

DAEMON = """
[site]
site = "walk"
bin = "bin-1"
[camera]
source = "folder:{camera}"
fps = {fps}
repeat = true
[trigger]
kind = "frame"
[mqtt]
port = {port}
[outbox]
path = "{out}/outbox.db"
[pictures]
keep = true
send = true
blur = "hands"
margin = 1.0
per_minute = 600
folder = "{out}/bin-pictures"
"""
FLEET = """
[store]
url = "sqlite:///{out}/fleet.db"
[mqtt]
port = {port}
[page]
port = {page}
[pictures]
keep = true
"""


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture of the site, as the camera shows it."""

    label: str
    thumb: npt.NDArray[np.float32]  # (24, 32, 3)


def lay_out(site: Path, camera: Path) -> list[Shown]:
    """Write the site's pictures as frames of 4:3, in the order of their names."""
    camera.mkdir(parents=True)
    paths = [(path, folder.name) for folder in site.iterdir() for path in list_pictures(folder)]
    shown = []
    for number, (path, label) in enumerate(sorted(paths, key=lambda one: one[0].name)):
        frame = centre_crop(read_picture(path), 4 / 3)
        cv2.imwrite(str(camera / f"{number:05}.jpg"), frame[..., ::-1])
        shown.append(Shown(label, thumb_of(frame)))
    return shown


def thumb_of(pixels: Pixels) -> npt.NDArray[np.float32]:
    """Small enough that JPEG does not matter."""
    whole = resize_down(centre_crop(pixels, 4 / 3), KEPT_W, KEPT_H)
    return cv2.resize(whole, THUMB, interpolation=cv2.INTER_AREA).astype(np.float32)


def truth_of(jpeg: bytes, shown: list[Shown]) -> str:
    """The folder of the picture that this one came of: a person would look, this one compares.

    What was hidden differs, so the median over the thumb's places counts, not the mean.
    """
    thumb = thumb_of(decode_picture(jpeg, name="gallery"))
    apart = [float(np.median(np.abs(thumb - one.thumb))) for one in shown]
    best = int(np.argmin(apart))
    if apart[best] > MOST_APART:
        raise SystemExit(f"a picture on the page is none of the site's (apart {apart[best]:.0f})")
    return shown[best].label


class Page:
    """A person at the monitor's page: its login, forms and export."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._open = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(CookieJar())
        ).open
        self._post("/login", name=NAME, password=PASSWORD)

    def get(self, path: str) -> bytes:
        with self._open(self._url + path, timeout=60) as answer:
            return bytes(answer.read())

    def _post(self, path: str, **fields: str) -> None:
        self._open(self._url + path, urllib.parse.urlencode(fields).encode(), timeout=60).close()

    def label_all(self, shown: list[Shown]) -> int:
        """Answer every picture that waits; returns how many."""
        count = 0
        while True:
            text = self.get("/gallery").decode()
            numbers = list(dict.fromkeys(FORM.findall(text)))
            if not numbers:
                return count
            token = TOKEN.search(text)
            assert token
            for number in numbers:
                label = truth_of(self.get(f"/gallery/{number}.jpg"), shown)
                self._post(f"/gallery/{number}/label", csrf=token[1], label=label)
                count += 1


@contextlib.contextmanager
def running(*command: str, log: Path) -> Iterator[None]:
    """A process of the project, ended as systemd would."""
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-m", *command], stderr=file, stdout=file)
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def stored(database: Path) -> int:
    """Pictures at the monitor; a second showing of the same one does not count."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
        try:
            return int(db.execute("select count(distinct sha256) from picture").fetchone()[0])
        except sqlite3.OperationalError:  # locked, or not made yet
            return 0


def wait_for_pictures(database: Path, wanted: int) -> int:
    """Until all are there, or nothing new has come for a while."""
    have, since_s = 0, time.monotonic()
    while have < wanted and time.monotonic() - since_s < QUIET_S:
        time.sleep(0.5)
        now = stored(database)
        if now > have:
            have, since_s = now, time.monotonic()
    return have


def collect(site: Path, out: Path, model: str, fps: float) -> Path:
    """From the bin's camera to the page's export; returns the .zip."""
    shown = lay_out(site, out / "camera")
    say(f"site: {len(shown)} pictures of {len({one.label for one in shown})} classes")
    broker = Mosquitto(out).start()
    page_port = free_port()
    settings = {"out": out, "port": broker.port, "page": page_port, "fps": fps}
    (out / "fleet.toml").write_text(FLEET.format(**settings))
    text = DAEMON.format(**settings, camera=out / "camera")
    if model:
        text += f'[model]\npath = "{model}"\n'
    (out / "config.toml").write_text(text)
    database = Database(f"sqlite:///{out / 'fleet.db'}")
    database.prepare()
    Users(database, session_s=86400).add(NAME, "operator", PASSWORD)
    database.close()
    try:
        with running("edge.cli", "fleet", "-c", str(out / "fleet.toml"), log=out / "fleet.log"):
            wait_for(lambda: _answers(page_port), what="the fleet page", timeout_s=60)
            with running("edge.cli", "run", "-c", str(out / "config.toml"), log=out / "bin.log"):
                began_s = time.monotonic()
                have = wait_for_pictures(out / "fleet.db", len(shown))
                say(f"monitor: {have} pictures stored after {time.monotonic() - began_s:.0f} s")
            say(f"bin: {_kept(out / 'bin-pictures')}")
            page = Page(page_port)
            say(f"page: {page.label_all(shown)} labelled through its forms")
            (out / "labels.zip").write_bytes(page.get("/gallery/labels.zip"))
    finally:
        broker.stop()
    return out / "labels.zip"


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2).close()
        return True
    return False


def _kept(folder: Path) -> str:
    notes = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    reasons: dict[str, int] = {}
    for note in notes:
        reasons[note["why"]] = reasons.get(note["why"], 0) + 1
    told = ", ".join(f"{why} {n}" for why, n in sorted(reasons.items()))
    hidden = float(np.mean([note["hidden"] for note in notes])) if notes else 0.0
    return f"{len(notes)} kept ({told}); {hidden:.1%} of their area hidden"


def trainer(*arguments: str) -> None:
    """A command of `smartbin-train`; raises SystemExit where it fails."""
    done = subprocess.run([sys.executable, "-m", "trainer.cli", *arguments], check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


def say(sentence: str) -> None:
    print(sentence, flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--site", type=Path, required=True, help="one folder of pictures a class")
    parser.add_argument("--out", type=Path, required=True, help="a new folder for what is made")
    parser.add_argument("--model", default="", help="bundle of the bin; else the shipped one")
    parser.add_argument("--fps", type=float, default=PLAYED_PER_S, help="items a second")
    parser.add_argument("--learn", action="store_true", help="also teach --base, with --data")
    parser.add_argument("--base", type=Path, help="best.pt of the student")
    parser.add_argument("--data", type=Path, help="the old data, one folder a class")
    parser.add_argument("rest", nargs="*", help="after --: more options of smartbin-train learn")
    asked = parser.parse_args()
    if asked.learn and not (asked.base and asked.data):
        parser.error("--learn needs --base and --data")
    out = asked.out.resolve()
    out.mkdir(parents=True)
    zipped = collect(asked.site, out, asked.model, asked.fps)
    say(f"export: {zipped.stat().st_size / 1e6:.1f} MB")
    trainer("gather", str(zipped), "--out", str(out / "batch"))
    if asked.learn:
        base = ["--base", str(asked.base), "--data", str(asked.data)]
        batch = ["--batch", str(out / "batch"), "--run", str(out / "run")]
        trainer("learn", *base, *batch, *asked.rest)


if __name__ == "__main__":
    main()
