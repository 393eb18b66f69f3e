"""The demo page in headless Chromium: a picture is dropped, and what is seen is what was found.

With SMARTBIN_SCREENSHOTS=FOLDER the pictures of the page are taken on the way.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.bundle import load_bundle
from edge.values import Pixels
from tests.browser import CHROMIUM, DRIVER, MISSING, chromium
from tests.harness import free_port
from tests.masknets import write_mask_net
from trainer import page
from trainer.page_eye import Eye
from trainer.seer import seer_of

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.common.exceptions import WebDriverException  # noqa: E402  after the check
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

pytestmark = [
    pytest.mark.trainer,
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=MISSING),
    pytest.mark.skipif(
        importlib.util.find_spec("gradio") is None,
        reason="gradio is not installed; like torch it is of the trainer's environment",
    ),
]
PATIENCE_S = 200


@pytest.fixture
def address(
    write_bundle: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The page, served; its segmenter takes what is bright for the item."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "dropped"))
    bundle = load_bundle(write_bundle())
    with seer_of(bundle, "tiny", model=write_mask_net(tmp_path / "net")) as seer:
        blocks = page.build(Eye(bundle, seer))
        yield page.launch(blocks, free_port())
        blocks.close(verbose=False)


def picture(path: Path, *, item: bool) -> Path:
    """Dark red ground, with a bright item on it or without."""
    pixels: Pixels = np.full((240, 320, 3), (60, 20, 20), np.uint8)
    if item:
        pixels[60:140, 100:200] = (250, 190, 190)
    cv2.imwrite(str(path), pixels[..., ::-1])
    return path


def drop(driver: webdriver.Chrome, path: Path, expect: str) -> None:
    """Hand a file to the page and wait until it says what is expected of the segmentation."""
    wait = WebDriverWait(driver, PATIENCE_S, ignored_exceptions=(WebDriverException,))
    field = wait.until(lambda _: driver.find_element(By.CSS_SELECTOR, "input[type=file]"))
    field.send_keys(str(path))
    says(driver, "segmentation", expect)
    # The pictures come after the words: each is there once it has a size of its own.
    wait.until(lambda _: all(width(driver, name) > 0 for name in ("item", "evidence")))


def says(driver: webdriver.Chrome, name: str, *words: str) -> None:
    """Wait until all of these stand in a part of the page; parts are drawn one after the other."""
    wait = WebDriverWait(driver, PATIENCE_S, ignored_exceptions=(WebDriverException,))
    missing = f"{name} never said all of {words}"
    wait.until(lambda _: all(word in text(driver, name) for word in words), missing)


def text(driver: webdriver.Chrome, name: str) -> str:
    return str(driver.find_element(By.ID, name).text)


def width(driver: webdriver.Chrome, name: str) -> int:
    """Of the picture under this name as the browser decoded it, px; 0 while there is none."""
    script = "return document.querySelector(arguments[0])?.naturalWidth ?? 0"
    return int(driver.execute_script(script, f"#{name} img"))


def shoot(driver: webdriver.Chrome, name: str) -> None:
    folder = os.environ.get("SMARTBIN_SCREENSHOTS")
    if folder:
        driver.save_screenshot(str(Path(folder) / f"{name}.png"))


@pytest.mark.parametrize(("name", "width_px"), [("laptop", 1366), ("phone", 500)])
def test_a_dropped_picture_shows_segmentation_beside_the_map(
    name: str, width_px: int, address: str, tmp_path: Path
) -> None:
    """Cut out or not, it is said and shown, and no page is wider than its window."""
    with chromium(tmp_path, width=width_px, height=900) as driver:
        driver.get(address)
        drop(driver, picture(tmp_path / "item.png", item=True), "Cut out.")
        says(driver, "segmentation", "clear")
        says(driver, "verdict", "sorted", "red ")
        says(driver, "looks", "whole frame", "cut-out", "together", "80%", "20%")
        says(driver, "milliseconds", "ms to cut out", "ms to judge both looks")
        shoot(driver, f"demo-{name}")
        sizes = "return [document.documentElement.scrollWidth, window.innerWidth]"
        page_px, window_px = driver.execute_script(sizes)
        assert page_px <= window_px

        driver.get(address)
        drop(driver, picture(tmp_path / "bare.png", item=False), "Not cut out.")
        says(driver, "segmentation", "tiny: empty mask, whole frame judged")
        says(driver, "looks", "whole frame", "100%")
        says(driver, "milliseconds", "ms to judge the whole frame")
        assert "together" not in text(driver, "looks")
        severe = [row for row in driver.get_log("browser") if row["level"] == "SEVERE"]
        assert severe == []


def test_the_two_pictures_stand_side_by_side_on_a_laptop(address: str, tmp_path: Path) -> None:
    """At one height, the segmentation left of the map; on a phone one under the other."""
    script = "const b = document.getElementById(arguments[0]).getBoundingClientRect();"
    script += "return [b.x, b.y]"
    places = {}
    for width_px in (1366, 500):
        with chromium(tmp_path, width=width_px) as driver:
            driver.get(address)
            drop(driver, picture(tmp_path / "item.png", item=True), "Cut out.")
            places[width_px] = [driver.execute_script(script, n) for n in ("item", "evidence")]
    (item_x, item_y), (map_x, map_y) = places[1366]
    assert item_x < map_x and abs(item_y - map_y) < 3
    (item_x, item_y), (map_x, map_y) = places[500]
    assert abs(item_x - map_x) < 3 and item_y < map_y
