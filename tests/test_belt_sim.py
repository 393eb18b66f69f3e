"""`smartbin belt-sim`: the real daemon, broker and actuator on a simulated line."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.beltsim.fate import SAFE, Fate
from edge.beltsim.figures import Figures
from edge.beltsim.layout import Layout, Setup
from edge.beltsim.line import Line
from edge.beltsim.page import Page
from edge.beltsim.run import check_choice, report, run_line
from edge.beltsim.scenery import Scenery
from edge.beltsim.world import Faults, World
from edge.errors import SmartbinError, UsageError
from tests.harness import ROOT


def a_world(items: int = 60, **changes: object) -> World:
    world = World(
        seed=3,
        start_s=50.0,
        items=items,
        per_min=300,
        speed_mm_s=2250,
        fps=60,
        camera_mm=160,
        faults=Faults(),
    )
    return dataclasses.replace(world, **changes)  # type: ignore[arg-type]


def test_two_processes_make_the_same_world() -> None:
    """The camera's process and ours agree on every item and every pixel."""
    ours, theirs = a_world(), World.from_json(a_world().to_json())
    assert theirs.things == ours.things
    at_s = ours.time_of(ours.things[3].lead_mm + 250)
    assert np.array_equal(Scenery(ours).picture(at_s), Scenery(theirs).picture(at_s))


def test_travel_and_time_are_each_other_s_reverse() -> None:
    """Though the belt's speed goes up and down."""
    world = a_world()
    for travel_mm in range(0, 30_000, 777):
        assert world.travel_mm(world.time_of(travel_mm)) == pytest.approx(travel_mm, abs=1e-6)


def test_items_come_at_the_rate_and_never_overlap() -> None:
    """Some are too close, none touch, all classes come alike."""
    world = a_world(items=600)
    gaps = [
        b.lead_mm - a.lead_mm - a.length_mm
        for a, b in zip(world.things[:-1], world.things[1:], strict=True)
    ]
    assert min(gaps) >= 12 - 1e-6
    assert 5 <= sum(gap < 40 for gap in gaps) <= 60
    minutes = (world.lead_times[-1] - world.lead_times[0]) / 60
    assert 599 / minutes == pytest.approx(300, rel=0.1)
    counts = np.bincount([thing.sprite for thing in world.things])
    assert (counts > 0).all()


def test_picture_shows_the_item_under_the_camera() -> None:
    """And the bare belt where there is none."""
    world = a_world(items=2, faults=Faults(close_items=0))
    scenery, thing = Scenery(world), world.things[0]
    bare = scenery.picture(world.start_s + 0.5).astype(int)
    there = scenery.picture(world.time_of(thing.middle_mm + 160)).astype(int)
    middle = slice(scenery.width_px // 2 - 30, scenery.width_px // 2 + 30)
    assert np.abs(there - bare)[:, middle].max(axis=2).mean() > 10
    assert np.abs(there - bare)[:, :20].max(axis=2).mean() < 12


# Physics


def test_paddle_sweeps_off_what_is_before_it_and_nothing_else() -> None:
    """At the item's moment it meets that item; a pitch later another, and that is a wrong kick."""
    world = a_world(faults=Faults(close_items=0))
    fate, third, fourth = Fate(world, Layout()), world.things[2], world.things[3]
    good = fate.kick("glass", 3, world.time_of(third.middle_mm + 900))
    assert (good.hits, good.wrong, fate.bin_of(third)) == ((3,), False, "glass")
    bad = fate.kick("paper", 3, world.time_of(fourth.middle_mm + 1700))
    assert (bad.hits, bad.wrong, fate.bin_of(fourth)) == ((4,), True, "paper")
    assert fate.bin_of(world.things[4]) == SAFE


def test_item_is_known_by_its_trigger() -> None:
    """To 20 ms; between two items there is none."""
    world = a_world(faults=Faults(close_items=0))
    fate = Fate(world, Layout())
    seventh = world.lead_times[6]
    assert fate.thing_at(seventh + 0.015) == world.things[6]
    assert fate.thing_at((seventh + world.lead_times[7]) / 2) is None


# The line


def check_safe(figures: Figures) -> None:
    """What holds on every machine, however busy: nothing is lost, nothing wrong is moved."""
    assert (figures.undecided, figures.strange, figures.again) == (0, 0, 0)
    assert figures.wrong_kicks == 0
    assert figures.disagreements == 0
    fired = sum(figures.acks.values())
    assert figures.acks.get("none", 0) == 0
    assert figures.kicks == fired - figures.acks.get("late", 0)
    assert sum(figures.counts.values()) == figures.items


@pytest.fixture(scope="module")
def short_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Figures, Path]:
    """Eight items, with a picture and a film."""
    folder = tmp_path_factory.mktemp("line")
    setup = Setup(per_min=120, items=8)
    return run_line(setup, png=folder / "line.png", gif=folder / "line.webp"), folder


def test_every_item_is_decided_once_and_moved_by_its_own_decision(
    short_run: tuple[Figures, Path],
) -> None:
    """Through the broker and back, with the shipped student."""
    figures, _ = short_run
    check_safe(figures)
    late = figures.acks.get("late", 0) + figures.outcomes.get("late", 0)
    assert figures.kicks > 0 or late  # on a machine that has no time for it, nothing is moved
    assert figures.as_json()["items"] == 8
    assert any("classifier alone" in line for line in report(figures))


def test_picture_and_film_are_written(short_run: tuple[Figures, Path]) -> None:
    """Both show the belt."""
    _, folder = short_run
    picture = cv2.imread(str(folder / "line.png"))
    assert picture is not None and picture.shape == (430, 1200, 3)
    assert 40 < picture[150, 400].mean() < 220
    assert (folder / "line.webp").stat().st_size > 1000


def test_page_serves_the_line_on_loopback_and_nothing_else() -> None:
    """The page, its values, its pictures; not the files of this host."""
    line = Line(Setup(items=3))
    with Page(line, port=0) as page:
        assert page.address.startswith("http://127.0.0.1:")
        html = urllib.request.urlopen(page.address, timeout=200).read().decode()
        assert "http://" not in html and "https://" not in html  # nothing from elsewhere
        scene = json.loads(urllib.request.urlopen(page.address + "scene", timeout=200).read())
        assert scene["layout"]["diverters_mm"]["glass"] == 900
        counts = json.loads(urllib.request.urlopen(page.address + "counts", timeout=200).read())
        assert counts["items"] == 3 and not counts["finished"]
        sprite = line.world.sprites[0].file
        picture = urllib.request.urlopen(f"{page.address}sprites/{sprite}", timeout=200).read()
        assert picture[:4] == b"RIFF"
        for path in ("sprites/../page.py", "sprites/%2e%2e/page.py", "page.py"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(page.address + path, timeout=200)
        taken = int(page.address.rsplit(":", 1)[1].strip("/"))
        with (
            pytest.raises(SmartbinError, match=f"port {taken} .* cannot be had"),
            Page(line, port=taken),
        ):
            pass


@pytest.mark.parametrize(("per_min", "items"), [(5, 10), (601, 10), (60, 0)])
def test_a_line_that_is_none_is_refused(per_min: float, items: int) -> None:
    """The sentence says what is allowed."""
    with pytest.raises(UsageError, match="must be"):
        check_choice(per_min, items)


@pytest.mark.slow
@pytest.mark.parametrize("encoder", [False, True])
def test_hundred_items_at_three_hundred_a_minute(encoder: bool) -> None:
    """No wrong kick, and the bins are as pure as the classifier is precise, within a point."""
    command = [sys.executable, "-m", "edge.cli", "belt-sim", "--rate", "300", "--items", "100"]
    result = subprocess.run(
        [*command, "--json", "--no-page", *(["--encoder"] if encoder else [])],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=200,
        check=True,
    )
    figures = Figures(**json.loads(result.stdout))
    check_safe(figures)
    assert figures.sorted_purity is not None and figures.own_precision is not None
    late = figures.acks.get("late", 0) + figures.outcomes.get("late", 0)
    if not late:  # on a machine that has time for it, each sorted item is in its bin
        assert abs(figures.sorted_purity - figures.own_precision) <= 0.01
