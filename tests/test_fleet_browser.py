"""A person's path through the page, in headless Chromium: find the sick bin, see why, relabel.

With SMARTBIN_SCREENSHOTS=FOLDER the pictures of docs/images are taken on the way.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import itertools
import json
import math
import os
import random
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
import sqlalchemy as sa

from edge.fleet import schema
from edge.fleet.alerts import Alerts, Bounds
from edge.fleet.cards import read_cards
from edge.fleet.drift_watch import DriftWatch
from edge.fleet.monitor import Monitor
from edge.values import Message
from tests.browser import CHROMIUM, DRIVER, MISSING, chromium
from tests.fleet_harness import LABELS, MODEL, Bin, RunningMonitor, Voice, settings_for
from tests.harness import ROOT, Mosquitto, wait_for

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.common.exceptions import (  # noqa: E402  after the check that it is there
    StaleElementReferenceException,
    WebDriverException,
)
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=MISSING),
]
PASSWORD = "a-good-password"
SICK = ("north", "market-7")
LONG = Bin(
    "a-bin-whose-name-has-as-many-letters-as-a-name-may-have-1234567", "s" * 63, boot="f" * 12
)
LONG_PATH = f"bins/{LONG.site}/{LONG.name}"


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path) as driver:
        yield driver


@pytest.fixture
def monitor(
    mosquitto: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RunningMonitor]:
    """Drift and alerts are looked at by `look` alone: the housekeeper, which comes when it likes,
    may have taken the first dark pictures for a bin's normal ones."""
    tasks = Monitor._tasks
    mine = ("drift", "alerts")
    monkeypatch.setattr(
        Monitor, "_tasks", lambda self: [task for task in tasks(self) if task.name not in mine]
    )
    extra = f'[pictures]\nkeep = true\n[drift]\nwindow = 100\ncards = "{tmp_path}"\n'
    card = {"version": 3, "metrics": [{"metric": "accuracy", "value": 0.92}]}
    (tmp_path / "student.int8.json").write_text(json.dumps(card))
    monitor = RunningMonitor(settings_for(mosquitto.port, tmp_path, extra=extra))
    monitor.wait_connected()
    monitor.monitor.users.add("ann", "operator", PASSWORD)
    monitor.monitor.users.add("vic", "viewer", PASSWORD)
    yield monitor
    monitor.close()


def a_day(
    rng: random.Random, bin_: Bin, *, items: int, mean: float, ends_h: float
) -> list[Message]:
    """Decisions spread over a working day that ended `ends_h` hours ago."""
    end_ts = time.time() - ends_h * 3600
    messages = []
    for n in range(items):
        ts = end_ts - (items - n) / items * 11 * 3600 * (0.6 + 0.4 * rng.random())
        label = rng.choices(LABELS, (4, 3, 3, 6, 3, 1))[0]
        messages.append(bin_.event(label, rng.betavariate(mean * 7, (1 - mean) * 7), ts=ts))
    return messages


def sample_jpegs(n: int) -> list[bytes]:
    paths = sorted((ROOT / "edge" / "samples" / "stills").glob("*.jpg"))[:: max(1, 30 // n)][:n]
    jpegs = []
    for path in paths:
        small = cv2.resize(cv2.imread(str(path)), (384, 288), interpolation=cv2.INTER_AREA)
        good, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])
        assert good
        jpegs.append(data.tobytes())
    return jpegs


def picture(bin_: Bin, seq: int, jpeg: bytes, label: str, confidence: float) -> Message:
    body = {
        "v": 1,
        "id": f"{bin_.boot}-{seq}",
        "site": bin_.site,
        "bin": bin_.name,
        "boot": bin_.boot,
        "seq": seq,
        "outcome": "unknown",
        "label": label,
        "confidence": confidence,
        "top": [[label, confidence]],
        "model": MODEL,
        "decided_ts": time.time() - 60 * seq,
        "why": f"low confidence: {label} with {confidence:.2f}",
        "blur": "people",
        "hidden": 0.0,
        "sha256": hashlib.sha256(jpeg).hexdigest(),
        "jpeg": base64.b64encode(jpeg).decode(),
    }
    topic = f"bins/v1/{bin_.site}/{bin_.name}/picture"
    return Message(topic, json.dumps(body).encode(), qos=1)


def populate(monitor: RunningMonitor, voice: Voice) -> None:
    """Two dozen bins that are well, one in the dark, one lost, one starved, and some pictures."""
    rng = random.Random(3)
    total = 0
    places = ("station", "market", "school", "harbour", "museum", "park")
    for n in range(24):
        site = "north" if n % 2 else "south"
        bin_ = Bin(f"{places[n % 6]}-{n}", site, boot=f"{n + 1:012x}")
        sick = (site, bin_.name) == SICK
        events = a_day(rng, bin_, items=130 if sick else 40, mean=0.92, ends_h=0.1)
        voice.say(bin_.birth(), bin_.state(), *events)
        total += len(events)
        temperature = rng.uniform(38, 58)
        figures = {"temperature_c": temperature, "confidence": {"mean": rng.uniform(0.88, 0.95)}}
        if n == 4:
            figures |= {"temperature_c": 79.5, "throttled": 0x50005}
        voice.say(bin_.health(**figures))
        if n == 10:
            voice.say(bin_.state("lost", "the connection broke without a farewell"))
        if sick:
            await_events(monitor, total)
            look(monitor)
            dark = a_day(rng, bin_, items=160, mean=0.55, ends_h=0.0)
            jpegs = sample_jpegs(8)
            shots = [
                picture(bin_, seq, jpeg, LABELS[seq % 6], 0.4 + 0.02 * seq)
                for seq, jpeg in enumerate(jpegs, start=1)
            ]
            voice.say(*dark, *shots)
            total += len(dark)
            voice.say(bin_.health(confidence={"mean": 0.56}, temperature_c=44.0))
    await_events(monitor, total)
    wait_for(lambda: monitor.scalar("SELECT count(*) FROM picture") == 8, what="pictures")
    voice.raw("bins/v1/south/station-0/event", b"{broken")
    wait_for(lambda: monitor.scalar("SELECT count(*) FROM reject"), what="a bad message")
    look(monitor)
    remember(monitor)


def remember(monitor: RunningMonitor) -> None:
    """A day of the sick bin's health and drift, which nobody waits for: the charts have history."""
    rng, now_ts = random.Random(4), time.time()
    id_ = monitor.scalar("SELECT id FROM bin WHERE name = 'market-7'")
    health, drift = [], []
    for n in range(96):
        ts = now_ts - (97 - n) * 900
        warm = 41 + 6 * math.sin(n / 15) + rng.random()
        row = {"bin_id": id_, "ts": ts, "temperature_c": warm, "rss_mb": 116.0}
        row |= {"p50_ms": 5 + rng.random() / 4, "p99_ms": 7 + rng.random()}
        health.append(row | {"outbox_depth": 40 if 30 < n < 34 else 0})
        fall = max(0.0, (n - 70) / 26)
        row = {"bin_id": id_, "ts": ts, "model": MODEL, "n": 100, "card_mean": 0.92}
        row |= {"mean": 0.91 - 0.2 * fall + rng.random() / 50, "told": ""}
        drift.append(row | {"psi_confidence": 0.05 + 1.3 * fall * fall, "psi_classes": 0.03})
    with monitor.monitor.database.begin() as db:
        db.execute(sa.insert(schema.health), health)
        last = sa.select(schema.drift).where(schema.drift.c.bin_id == id_)
        real = [dict(row) for row in db.execute(last).mappings()]
        assert real
        db.execute(sa.delete(schema.drift).where(schema.drift.c.bin_id == id_))
        db.execute(sa.insert(schema.drift), drift)
        kept = [{k: v for k, v in row.items() if k != "id"} for row in real]
        db.execute(sa.insert(schema.drift), kept)


def await_events(monitor: RunningMonitor, n: int) -> None:
    count = "SELECT count(*) FROM event"
    wait_for(lambda: monitor.scalar(count) >= n, what=f"{n} events")


def look(monitor: RunningMonitor) -> None:
    """Drift and alerts now, as the housekeeper would in its own time."""
    database, settings = monitor.monitor.database, monitor.monitor._settings
    cards = read_cards(settings.drift.cards)
    DriftWatch(database, cards=cards, window=100, least_psi=0.25, card_drop=0.15).look(
        now_ts=time.time()
    )
    bounds = Bounds(silent_s=180, hot_c=75, outbox_events=1000, latency_ms=500, abstain_frac=0.5)
    Alerts(database, bounds=bounds).judge(now_ts=time.time())


def shoot(driver: webdriver.Chrome, name: str) -> None:
    """A JPEG under 150 kB, where pictures are wanted."""
    folder = os.environ.get("SMARTBIN_SCREENSHOTS")
    if not folder:
        return
    png = Path(folder) / f"{name}.png"
    driver.save_screenshot(str(png))
    pixels = cv2.imread(str(png))
    png.unlink()
    for quality in (85, 75, 65, 50):
        good, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if good and len(data) < 150_000:
            break
    (Path(folder) / f"{name}.jpg").write_bytes(data.tobytes())


def follow(driver: webdriver.Chrome, by: str, what: str) -> None:
    """Click, and wait until the page that this leads to has taken the old one's place.

    A click returns before that, and what one looks for then may be found on the old page: it has
    a mark that no other has. live.js may put an element anew between finding and clicking it.
    """
    driver.execute_script("window.isOld = true")
    WebDriverWait(driver, 90, ignored_exceptions=[StaleElementReferenceException]).until(
        lambda d: d.find_element(by, what).click() is None
    )
    ready = "return window.isOld === undefined && document.readyState === 'complete'"
    WebDriverWait(driver, 90, ignored_exceptions=[WebDriverException]).until(
        lambda d: d.execute_script(ready)
    )


def texts(driver: webdriver.Chrome, css: str) -> list[str]:
    """What one reads in each element, taken at one moment: live.js may replace them."""
    read = "return [...document.querySelectorAll(arguments[0])].map(found => found.innerText)"
    return driver.execute_script(read, css)  # type: ignore[no-any-return]


def log_in(driver: webdriver.Chrome, url: str, name: str) -> None:
    driver.get(url)
    driver.find_element(By.NAME, "name").send_keys(name)
    driver.find_element(By.NAME, "password").send_keys(PASSWORD)
    follow(driver, By.CSS_SELECTOR, "button.main")
    assert driver.find_elements(By.CSS_SELECTOR, ".tiles")


def test_a_person_finds_the_sick_bin_sees_why_relabels_and_exports(
    driver: webdriver.Chrome, monitor: RunningMonitor, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    """Log in, filter, open, read reason and remedy, label three pictures, take the labels home."""
    voice = Voice(mosquitto.port)
    populate(monitor, voice)
    driver.get(monitor.url)
    shoot(driver, "fleet-login")
    log_in(driver, monitor.url, "ann")
    shoot(driver, "fleet-overview")
    tiles = texts(driver, "#tiles")[0].split()
    assert tiles[:2] == ["24", "bins"] and "lost" in tiles
    driver.find_element(By.NAME, "q").send_keys("market-7")
    follow(driver, By.CSS_SELECTOR, ".bar button")
    rows = texts(driver, "#bins tbody tr")
    assert len(rows) == 1 and "Confidence shifted" in rows[0]
    follow(driver, By.LINK_TEXT, "north/market-7")
    alerts = texts(driver, "#alerts")[0]
    assert "Confidence shifted" in alerts and "clean the lens" in alerts
    assert "Less sure than its card" in alerts and "the model's card says 0.92" in alerts
    assert driver.find_elements(By.CSS_SELECTOR, "#hours rect")
    assert driver.find_elements(By.CSS_SELECTOR, "#drift polyline")
    driver.set_window_size(1280, 1900)
    shoot(driver, "fleet-bin")
    driver.set_window_size(1280, 900)
    follow(driver, By.LINK_TEXT, "Alerts")
    shoot(driver, "fleet-alerts")
    follow(driver, By.LINK_TEXT, "Gallery")
    shoot(driver, "fleet-gallery")
    for label in ("glass", "paper", "none of these"):
        shots = len(driver.find_elements(By.CSS_SELECTOR, ".shot"))
        follow(driver, By.XPATH, f"(//article)[1]//button[@value='{label}']")
        assert len(driver.find_elements(By.CSS_SELECTOR, ".shot")) == shots - 1
    check_export(driver, tmp_path)
    voice.close()
    severe = [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    assert not severe  # nothing that the content policy had to stop


def check_export(driver: webdriver.Chrome, folder: Path) -> None:
    driver.find_element(By.PARTIAL_LINK_TEXT, "CSV").click()
    driver.find_element(By.PARTIAL_LINK_TEXT, "ZIP").click()
    wait_for(
        lambda: (folder / "labels.csv").exists() and zipfile.is_zipfile(folder / "labels.zip"),
        what="downloads",
    )
    rows = list(csv.DictReader(io.StringIO((folder / "labels.csv").read_text())))
    assert sorted(row["label"] for row in rows) == ["glass", "none of these", "paper"]
    assert {row["labelled_by"] for row in rows} == {"ann"} and rows[0]["model"] == MODEL
    with zipfile.ZipFile(folder / "labels.zip") as archive:
        names = archive.namelist()
        assert {name.split("/")[0] for name in names if "/" in name} == {
            "glass",
            "paper",
            "none-of-these",
        }
        assert json.loads(archive.read("provenance.json"))["pictures"] == 3
        for row in rows:
            data = archive.read(row["file"])
            assert hashlib.sha256(data).hexdigest() == row["sha256"]


def test_it_reads_on_a_phone_and_a_viewer_changes_nothing(
    driver: webdriver.Chrome, monitor: RunningMonitor, mosquitto: Mosquitto
) -> None:
    """At 360 px nothing is wider than the screen and every word of a chart is as large as others;
    a viewer has no buttons that change; a page that is not live any more says so."""
    voice = Voice(mosquitto.port)
    populate(monitor, voice)
    voice.say(LONG.birth(), LONG.state("degraded", "the camera gives no frames"), LONG.event())
    wait_for(lambda: monitor.monitor.queries.bin(LONG.site, LONG.name), what="one more bin")
    voice.close()
    # Emulated: a window of headless Chromium is never narrower than 500 px.
    phone = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    log_in(driver, monitor.url, "vic")
    for path in ("", "bins/north/market-7", "alerts", "gallery", "input", LONG_PATH):
        driver.get(monitor.url + path)
        width = driver.execute_script("return document.documentElement.scrollWidth")
        assert width <= 360, (path, width)
        buttons = driver.find_elements(By.CSS_SELECTOR, "main form[method=post] button")
        assert not buttons, path
        shoot(driver, f"fleet-phone-{path.split('/')[0] or 'overview'}")
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": dark})
    driver.get(monitor.url + "bins/north/market-7")
    shoot(driver, "fleet-phone-dark")
    check_words_of_charts(driver)
    monitor.close()
    WebDriverWait(driver, 90).until(lambda d: "does not answer" in texts(d, "#stale")[0])


def check_words_of_charts(driver: webdriver.Chrome) -> None:
    """None is smaller than 11 px, and none touches the next one."""
    boxes = driver.execute_script(
        "return [...document.querySelectorAll('.chart .ticks')].map(chart => "
        "[...chart.querySelectorAll('text')].map(word => word.getBoundingClientRect().toJSON()))"
    )
    assert len(boxes) == 7  # hours, two of drift, four of health
    for words in boxes:
        shown = [word for word in words if word["width"]]
        assert shown and all(word["height"] >= 11 for word in shown)
        for left, right in itertools.pairwise(shown):
            assert left["right"] + 4 < right["left"]


def test_long_names_fit_a_desk(
    driver: webdriver.Chrome, monitor: RunningMonitor, mosquitto: Mosquitto
) -> None:
    """The longest names that a bin may have leave every column on the screen; a bin that has no
    comparison yet says how far it is, and what its model's card says."""
    voice = Voice(mosquitto.port)
    voice.say(LONG.birth(), LONG.state(), LONG.event(), LONG.event(), LONG.health())
    wait_for(lambda: monitor.scalar("SELECT judged FROM bin") == 2, what="its decisions")
    voice.close()
    log_in(driver, monitor.url, "ann")
    for path in ("", LONG_PATH, "alerts"):
        driver.get(monitor.url + path)
        assert driver.execute_script("return document.documentElement.scrollWidth") <= 1280, path
        if path == LONG_PATH:
            drift = texts(driver, "#drift")[0]
            assert "first 100 judged items" in drift and "2 have come" in drift
            assert "card says 0.92" in drift and "No card" not in drift
