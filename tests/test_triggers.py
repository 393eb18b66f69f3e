"""Triggers on drawn and on rendered sequences; time is what the frames say."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.errors import UsageError
from edge.pictures import read_picture
from edge.triggers import KINDS, build_trigger
from edge.triggers.base import MAX_COLLECTIONS
from edge.triggers.presence import PresenceTrigger
from edge.values import Frame, Item, Pixels

SAMPLES = Path(__file__).parent.parent / "edge" / "samples"
FPS = 10.0
WIDTH, HEIGHT = 640, 480


def presence(*, votes: int = 3, **options: Any) -> PresenceTrigger:
    settings = {"min_area_frac": 0.01, "settle_s": 0.4} | options
    trigger = build_trigger("presence", votes=votes, interval_s=5.0, **settings)
    assert isinstance(trigger, PresenceTrigger)
    return trigger


@dataclass
class Tray:
    """Draws what a camera above a tray sees; frames come at FPS."""

    seed: int = 0
    surface: str = "card"
    noise: float = 2.0  # standard deviation of a pixel, in levels
    lamp: float = 1.0  # a factor on the light
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    tilt: float = 0.0  # how much brighter the right side is than the left
    things: list[tuple[str, int, int]] = field(default_factory=list)
    now_s: float = 100.0
    seq: int = 0

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)
        self._empty = self._draw_surface()
        # Noise is drawn once, and shifted for every frame: drawing it is the slow part.
        shape = (HEIGHT * 2, WIDTH * 2, 3)
        self._grain = self._rng.standard_normal(shape, dtype=np.float32)

    def frames(self, seconds: float) -> Iterator[Frame]:
        for _ in range(round(seconds * FPS)):
            yield self.frame()

    def frame(self, extra: Iterable[tuple[str, int, int]] = ()) -> Frame:
        self.seq += 1
        self.now_s += 1 / FPS
        picture = self._empty.copy()
        for kind, x, y in [*self.things, *extra]:
            THINGS[kind](picture, x, y)
        light = picture.astype(np.float32) * np.array(self.tint, np.float32) * self.lamp
        if self.tilt:
            light *= np.linspace(1 - self.tilt / 2, 1 + self.tilt / 2, WIDTH)[None, :, None]
        y, x = self._rng.integers(0, HEIGHT), self._rng.integers(0, WIDTH)
        light += self.noise * self._grain[y : y + HEIGHT, x : x + WIDTH]
        pixels: Pixels = np.clip(light + 0.5, 0, 255).astype(np.uint8)
        return Frame(pixels, self.now_s, self.seq)

    def _draw_surface(self) -> Pixels:
        rows, columns = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
        falloff = 1 - 0.15 * (rows**2 + columns**2) / 2
        base = (205, 203, 198) if self.surface == "card" else (130, 92, 60)
        picture = falloff[..., None] * np.array(base)
        if self.surface == "wood":
            grain = cv2.GaussianBlur(self._rng.standard_normal((HEIGHT, WIDTH)), (0, 0), 30, 2)
            picture *= (1 + 0.15 * grain / np.abs(grain).max())[..., None]
        return np.clip(picture, 0, 255).astype(np.uint8)


def _can(picture: Pixels, x: int, y: int) -> None:
    cv2.rectangle(picture, (x - 40, y - 70), (x + 40, y + 70), (150, 155, 160), -1)
    cv2.rectangle(picture, (x - 40, y - 30), (x + 40, y + 30), (190, 30, 35), -1)


def _bottle(picture: Pixels, x: int, y: int) -> None:
    # Clear glass: the middle shows the tray, only edges and a highlight differ.
    cv2.ellipse(picture, (x, y), (45, 110), 20, 0, 360, (120, 125, 122), 5)
    cv2.ellipse(picture, (x - 10, y), (8, 60), 20, 0, 360, (250, 250, 250), -1)


def _sheet(picture: Pixels, x: int, y: int) -> None:
    # White paper: on white card hardly more than its own shadow.
    corners = np.array([(x - 70, y - 50), (x + 75, y - 60), (x + 65, y + 55), (x - 80, y + 45)])
    cv2.fillPoly(picture, [corners + 4], (170, 168, 165))
    cv2.fillPoly(picture, [corners], (226, 226, 222))


def _box(picture: Pixels, x: int, y: int) -> None:
    cv2.rectangle(picture, (x - 150, y - 120), (x + 150, y + 120), (165, 125, 85), -1)
    cv2.line(picture, (x - 150, y), (x + 150, y), (140, 105, 70), 4)


def _hand(picture: Pixels, x: int, y: int) -> None:
    # An arm from the top edge down to the hand.
    cv2.rectangle(picture, (x - 35, 0), (x + 35, y), (196, 150, 125), -1)
    cv2.circle(picture, (x, y), 60, (205, 160, 135), -1)
    cv2.line(picture, (x - 20, y - 10), (x - 20, y + 50), (150, 105, 85), 5)


THINGS = {"can": _can, "bottle": _bottle, "sheet": _sheet, "box": _box, "hand": _hand}
ITEMS = ("can", "bottle", "sheet", "box")


def play(trigger: PresenceTrigger, frames: Iterable[Frame]) -> list[Item]:
    """Show the frames; return the items."""
    return [item for frame in frames if (item := trigger.see(frame)) is not None]


def drop(tray: Tray, kind: str, x: int, y: int) -> Iterator[Frame]:
    """Let a thing fall into the tray: some frames on its way, then it lies there."""
    for step in range(1, 5):
        yield tray.frame([(kind, x, y - 400 + 80 * step)])
    tray.things.append((kind, x, y))


def sweep(tray: Tray, *, seconds: float) -> Iterator[Frame]:
    """Move a hand in from the top edge and out again."""
    steps = round(seconds * FPS)
    for step in range(steps):
        depth = np.sin(np.pi * step / steps)
        yield tray.frame([("hand", 320, int(-70 + 330 * depth))])


def at_rest(kind: str, *, seed: int = 0, surface: str = "card") -> tuple[Tray, PresenceTrigger]:
    """A tray in which a thing lies that has been decided."""
    tray, trigger = Tray(seed=seed, surface=surface), presence()
    assert play(trigger, tray.frames(1)) == []
    assert play(trigger, drop(tray, kind, 320, 250)) == []
    assert len(play(trigger, tray.frames(1.5))) == 1
    return tray, trigger


def stamped(captured_s: float, seq: int = 1) -> Frame:
    """A grey frame, where only its time matters."""
    return Frame(np.full((48, 64, 3), 128, np.uint8), captured_s, seq)


@pytest.mark.parametrize("surface", ["card", "wood"])
@pytest.mark.parametrize("kind", ITEMS)
def test_a_dropped_item_is_one_item(kind: str, surface: str) -> None:
    """Exactly one, once it rests, and none on the many frames on which it goes on lying there."""
    tray, trigger = Tray(surface=surface), presence()
    assert play(trigger, tray.frames(1)) == []
    assert play(trigger, drop(tray, kind, 320, 250)) == []
    rest_from_s = tray.now_s
    (item,) = play(trigger, tray.frames(30))
    assert item.cause == "presence"
    assert item.present
    assert item.trigger_s >= rest_from_s + 0.4
    assert [frame.captured_s >= item.trigger_s for frame in item.frames] == [True] * 3


def test_the_box_of_an_item_is_where_it_lies() -> None:
    """Within two cells of the small picture, in pixels of the frame."""
    tray, trigger = Tray(), presence()
    play(trigger, tray.frames(1))
    tray.things.append(("can", 200, 300))
    (item,) = play(trigger, tray.frames(2))
    assert item.box_xyxy == pytest.approx((160, 230, 240, 370), abs=14)


@pytest.mark.slow
def test_a_hundred_noisy_drops_are_a_hundred_items() -> None:
    """One for each, whatever the noise, the place, the kind and the surface."""
    for seed in range(100):
        rng = np.random.default_rng(seed)
        tray = Tray(seed=seed, surface=str(rng.choice(["card", "wood"])))
        tray.noise = float(rng.uniform(1, 6))
        trigger = presence()
        assert play(trigger, tray.frames(1)) == [], seed
        kind, x, y = (
            str(rng.choice(ITEMS)),
            int(rng.integers(170, 470)),
            int(rng.integers(140, 340)),
        )
        assert play(trigger, drop(tray, kind, x, y)) == [], seed
        assert len(play(trigger, tray.frames(2))) == 1, (seed, kind, tray.surface, tray.noise)
        tray.things.clear()
        assert play(trigger, tray.frames(1)) == [], seed
        assert trigger.state == "empty", seed


@pytest.mark.parametrize("kind", ITEMS)
def test_taking_an_item_away_is_no_item(kind: str) -> None:
    """The tray is empty again, and says so."""
    tray, trigger = at_rest(kind)
    tray.things.clear()
    assert play(trigger, tray.frames(3)) == []
    assert trigger.state == "empty"


def test_the_same_kind_again_right_after_is_another_item() -> None:
    """A flap empties the tray between two alike things within three frames."""
    tray, trigger = at_rest("can")
    tray.things.clear()
    assert play(trigger, tray.frames(0.3)) == []
    tray.things.append(("can", 320, 250))
    assert len(play(trigger, tray.frames(2))) == 1


@pytest.mark.parametrize("place", [(120, 150), (340, 260)], ids=["beside", "on it"])
def test_a_second_item_is_another_item(place: tuple[int, int]) -> None:
    """Beside the first or on it; the box is that of the second."""
    tray, trigger = at_rest("box")
    play(trigger, drop(tray, "can", *place))
    (item,) = play(trigger, tray.frames(2))
    assert item.box_xyxy is not None
    x0, y0, x1, y1 = item.box_xyxy
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx(place, abs=20)


def test_taking_one_of_two_away_is_no_item() -> None:
    """What is left was decided before."""
    tray, trigger = at_rest("can")
    play(trigger, drop(tray, "sheet", 120, 150))
    assert len(play(trigger, tray.frames(2))) == 1
    tray.things.pop(0)
    assert play(trigger, tray.frames(3)) == []
    assert trigger.state == "occupied"


@pytest.mark.parametrize("surface", ["card", "wood"])
@pytest.mark.parametrize("seconds", [0.6, 2, 6, 20])
def test_a_hand_passing_through_is_no_item(seconds: float, surface: str) -> None:
    """However fast or slow it goes."""
    tray, trigger = Tray(surface=surface), presence()
    play(trigger, tray.frames(1))
    assert play(trigger, sweep(tray, seconds=seconds)) == []
    assert play(trigger, tray.frames(2)) == []
    assert trigger.state == "empty"


def test_a_hand_passing_over_an_item_is_no_item() -> None:
    """The item below was decided and is still the same afterwards."""
    tray, trigger = at_rest("can")
    assert play(trigger, sweep(tray, seconds=3)) == []
    assert play(trigger, tray.frames(2)) == []
    assert trigger.state == "occupied"


def test_a_hand_that_stops_at_the_border_for_two_seconds_is_no_item() -> None:
    """A change that reaches the picture's edge must rest longer than one that does not."""
    tray, trigger = Tray(), presence()
    play(trigger, tray.frames(1))
    assert play(trigger, (tray.frame([("hand", 320, 200)]) for _ in range(20))) == []
    assert play(trigger, tray.frames(2)) == []


def test_an_item_left_across_the_border_is_an_item_in_the_end() -> None:
    """It only takes longer."""
    tray, trigger = Tray(), presence(border_settle_s=2.0)
    play(trigger, tray.frames(1))
    tray.things.append(("can", 20, 240))
    start_s = tray.now_s
    (item,) = play(trigger, tray.frames(4))
    assert item.trigger_s == pytest.approx(start_s + 2.0, abs=0.21)


@pytest.mark.parametrize("surface", ["card", "wood"])
def test_a_switched_light_is_no_item(surface: str) -> None:
    """Off, on, another lamp's colour, light from the side, and noise as at night."""
    tray, trigger = Tray(surface=surface), presence()
    play(trigger, tray.frames(1))
    for lamp in (0.5, 1.2, 0.25, 1.0):
        tray.lamp = lamp
        assert play(trigger, tray.frames(2)) == [], lamp
    tray.tint = (1.1, 1.0, 0.8)
    assert play(trigger, tray.frames(2)) == []
    tray.tilt = 0.5
    assert play(trigger, tray.frames(2)) == []
    tray.noise = 8.0
    assert play(trigger, tray.frames(2)) == []
    assert trigger.state == "empty"


def test_an_item_is_found_after_the_light_changed() -> None:
    """The light is taken off, not the item."""
    tray, trigger = Tray(surface="wood"), presence()
    play(trigger, tray.frames(1))
    tray.lamp, tray.tint = 0.45, (1.1, 1.0, 0.85)
    assert play(trigger, tray.frames(1)) == []
    play(trigger, drop(tray, "can", 320, 250))
    assert len(play(trigger, tray.frames(2))) == 1


@pytest.mark.parametrize("surface", ["card", "wood"])
@pytest.mark.parametrize("kind", ITEMS)
def test_a_faint_item_is_found_once_the_new_light_is_the_usual_one(kind: str, surface: str) -> None:
    """Some seconds after the switch, presence is as keen as before."""
    tray, trigger = Tray(surface=surface), presence()
    play(trigger, tray.frames(1))
    tray.lamp, tray.tilt = 0.4, 0.3
    assert play(trigger, tray.frames(5)) == []
    assert play(trigger, drop(tray, kind, 320, 250)) == []
    assert len(play(trigger, tray.frames(2))) == 1


def test_a_light_switched_over_an_item_does_not_decide_it_again() -> None:
    """Nor does it hide that the item is taken away later."""
    tray, trigger = at_rest("can", surface="wood")
    tray.lamp = 0.5
    assert play(trigger, tray.frames(3)) == []
    assert trigger.state == "occupied"
    tray.things.clear()
    assert play(trigger, tray.frames(2)) == []
    assert trigger.state == "empty"


def test_an_exposure_that_ramps_is_no_item_and_hides_none() -> None:
    """The camera brightens slowly while a bottle drops in."""
    tray, trigger = Tray(surface="wood"), presence()
    play(trigger, tray.frames(1))
    items = []
    for step in range(60):
        tray.lamp = 0.6 + 0.01 * step
        if step == 30:
            tray.things.append(("bottle", 320, 240))
        items += play(trigger, [tray.frame()])
    assert len(items) == 1


def test_slow_change_becomes_the_background() -> None:
    """A day of sun from another side, in steps that are each below notice."""
    tray, trigger = Tray(), presence()
    play(trigger, tray.frames(1))
    for step in range(100):
        tray.tilt = 0.008 * step
        tray.tint = (1 + 0.002 * step, 1.0, 1 - 0.003 * step)
        assert play(trigger, tray.frames(1)) == [], step
    assert trigger.state == "empty"


def test_what_is_never_taken_away_becomes_the_background() -> None:
    """After absorb_s the tray counts as empty again, with the thing in it."""
    tray, trigger = Tray(), presence(absorb_s=10.0)
    play(trigger, tray.frames(1))
    tray.things.append(("can", 320, 250))
    assert len(play(trigger, tray.frames(9))) == 1
    assert trigger.state == "occupied"
    assert play(trigger, tray.frames(5)) == []
    assert trigger.state == "empty"
    tray.things.append(("sheet", 120, 150))
    assert len(play(trigger, tray.frames(2))) == 1


def test_absorb_zero_means_never() -> None:
    """The thing stays an occupant."""
    tray, trigger = Tray(), presence(absorb_s=0.0)
    play(trigger, tray.frames(1))
    tray.things.append(("can", 320, 250))
    assert len(play(trigger, tray.frames(20))) == 1
    tray.now_s += 10_000
    assert play(trigger, tray.frames(2)) == []
    assert trigger.state == "occupied"


def test_a_change_below_min_area_is_no_item() -> None:
    """The can covers 3.6 % of the picture."""
    tray, trigger = Tray(), presence(min_area_frac=0.06)
    play(trigger, tray.frames(1))
    tray.things.append(("can", 320, 250))
    assert play(trigger, tray.frames(3)) == []


def test_learning_waits_until_nothing_moves() -> None:
    """A hand at the start is not part of the empty tray."""
    tray, trigger = Tray(), presence()
    hand_leaves = (tray.frame([("hand", 320, 300 - 30 * step)]) for step in range(13))
    play(trigger, hand_leaves)
    play(trigger, tray.frames(1))
    assert trigger.state == "empty"
    play(trigger, drop(tray, "can", 320, 250))
    assert len(play(trigger, tray.frames(2))) == 1


def test_a_reset_learns_what_it_sees_next() -> None:
    """What lies there then is the empty tray."""
    tray, trigger = at_rest("can")
    trigger.reset()
    assert trigger.state == "learning"
    assert play(trigger, tray.frames(2)) == []
    assert trigger.state == "empty"


def test_frames_of_another_size_are_learned_anew() -> None:
    """A camera that comes back with other settings neither crashes nor makes an item."""
    tray, trigger = at_rest("can")
    smaller = [
        Frame(np.ascontiguousarray(frame.pixels[::2, ::2]), frame.captured_s, frame.seq)
        for frame in tray.frames(2)
    ]
    assert play(trigger, smaller) == []
    assert trigger.state == "empty"


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 300, 3), (480, 640, 3), (30, 20, 3)])
def test_frames_of_any_shape_are_seen(shape: tuple[int, int, int]) -> None:
    """Tiny and odd ones too; a black picture is an empty tray like another."""
    trigger = presence()
    for number in range(20):
        assert trigger.see(Frame(np.zeros(shape, np.uint8), number / FPS, number)) is None
    assert trigger.state == "empty"


@pytest.mark.parametrize(("things", "there"), [([], False), ([("can", 320, 250)], True)])
def test_a_commanded_item_says_whether_something_lies_there(
    things: list[tuple[str, int, int]], there: bool
) -> None:
    """The presence trigger knows its empty tray."""
    tray, trigger = Tray(), presence()
    play(trigger, tray.frames(1))
    tray.things += things
    play(trigger, tray.frames(2))
    trigger.fire(tray.now_s)
    (item,) = play(trigger, tray.frames(0.3))
    assert (item.cause, item.present, item.box_xyxy is not None) == ("command", there, there)


@pytest.mark.parametrize("kind", KINDS)
def test_a_command_makes_an_item_of_the_frames_after_it(kind: str) -> None:
    """Whatever the kind; a frame captured before the command does not count."""
    trigger = build_trigger(kind, votes=2, interval_s=1000.0, min_area_frac=0.01, settle_s=0.4)
    for number in range(1, 4):
        trigger.see(stamped(number))
    trigger.fire(4.5)
    items = [trigger.see(stamped(number)) for number in range(4, 8)]
    (item,) = [item for item in items if item and item.cause == "command"]
    assert [frame.captured_s for frame in item.frames] == [5, 6]
    assert item.trigger_s == 4.5


@pytest.mark.parametrize("kind", ["command", "presence"])
def test_commands_close_together_are_an_item_each(kind: str) -> None:
    """Two light gates fire before the first item has its frames."""
    trigger = build_trigger(kind, votes=2, interval_s=5.0, min_area_frac=0.01, settle_s=0.4)
    trigger.fire(0.5)
    trigger.fire(1.5)
    items = [item for number in range(1, 6) if (item := trigger.see(stamped(number)))]
    assert [[frame.captured_s for frame in item.frames] for item in items] == [[1, 2], [2, 3]]


def test_a_storm_of_commands_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """Without frames the open items stay few, and the log says what was refused."""
    trigger = build_trigger("command", votes=1, interval_s=5.0, min_area_frac=0.01, settle_s=0.4)
    for number in range(MAX_COLLECTIONS + 5):
        trigger.fire(number / 1000)
    items = [item for number in range(1, 100) if (item := trigger.see(stamped(number)))]
    assert len(items) == MAX_COLLECTIONS
    assert "refused" in caplog.text


def test_an_interval_makes_an_item_each_time() -> None:
    """The first at once; each of the next frames at its turn."""
    trigger = build_trigger("interval", votes=2, interval_s=1.0, min_area_frac=0.01, settle_s=0.4)
    items = [item for n in range(30) if (item := trigger.see(stamped(n / 10)))]
    assert [item.trigger_s for item in items] == [0.0, 1.0, 2.0]
    assert [len(item.frames) for item in items] == [2, 2, 2]
    assert {item.cause for item in items} == {"interval"}


def test_an_interval_leaves_out_turns_without_frames() -> None:
    """A camera that was away for a minute does not make sixty items at once."""
    trigger = build_trigger("interval", votes=1, interval_s=1.0, min_area_frac=0.01, settle_s=0.4)
    times_s = [0.0, 60.25, 60.5, 60.75, 61.0, 61.25]
    items = [item for at_s in times_s if (item := trigger.see(stamped(at_s)))]
    assert [item.trigger_s for item in items] == [0.0, 60.25, 61.0]


def test_each_frame_is_an_item_where_the_kind_is_frame() -> None:
    """For a folder of stills; nothing is passed over."""
    trigger = build_trigger("frame", votes=1, interval_s=5.0, min_area_frac=0.01, settle_s=0.4)
    items = [trigger.see(stamped(number, seq=number)) for number in range(5)]
    assert [item and item.frames[0].seq for item in items] == list(range(5))


def test_a_reset_drops_open_items() -> None:
    """A command from before a pause is not answered after it."""
    for kind in KINDS:
        trigger = build_trigger(kind, votes=3, interval_s=9.0, min_area_frac=0.01, settle_s=0.4)
        trigger.fire(0.0)
        trigger.see(stamped(1))
        trigger.reset()
        items = [item for number in range(2, 9) if (item := trigger.see(stamped(number)))]
        assert "command" not in {item.cause for item in items}, kind


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    """As is a trigger without votes."""
    with pytest.raises(UsageError, match="presence, interval, frame, command"):
        build_trigger("motion", votes=3)
    with pytest.raises(UsageError, match="votes"):
        build_trigger("command", votes=0)


@pytest.mark.slow
def test_presence_costs_little_beside_a_classification() -> None:
    """At 640x480 under 4 ms; 0.45 ms measured on a desktop core that was busy otherwise, too."""
    tray, trigger = Tray(), presence()
    frames = list(tray.frames(5))
    took_s = []
    for frame in frames:
        start_s = time.thread_time()  # our own, however busy the machine
        trigger.see(frame)
        took_s.append(time.thread_time() - start_s)
    assert np.median(took_s) < 0.004


def sequences(*, of_items: bool) -> list[dict[str, Any]]:
    """The rendered sequences of edge/samples/samples.json, with or without an item at the end."""
    index: dict[str, Any] = json.loads((SAMPLES / "samples.json").read_text())
    found = [s for s in index.get("drops", []) if (s["first_at_rest"] is not None) == of_items]
    assert found, "edge/samples/samples.json lists no such sequences"
    return found


def rendered(sequence: dict[str, Any], *, repeat_last: int = 0) -> list[Frame]:
    """The frames of a sequence; seq is the index of the picture in it, from 0."""
    paths = sorted((SAMPLES / sequence["folder"]).glob("*.jpg"))
    assert len(paths) == sequence["frames"]
    paths += paths[-3:] * repeat_last
    return [Frame(read_picture(p), 50 + n / sequence["fps"], n) for n, p in enumerate(paths)]


def test_each_rendered_drop_is_one_item_at_rest() -> None:
    """None of its frames is from before the rest, and none follows while it goes on lying there."""
    for sequence in sequences(of_items=True):
        items = play(presence(), rendered(sequence, repeat_last=10))
        assert len(items) == 1, sequence["folder"]
        assert items[0].frames[0].seq >= sequence["first_at_rest"], sequence["folder"]
        # Rest of 0.4 s and three frames: it is in time, too.
        assert items[0].frames[-1].seq <= sequence["first_at_rest"] + 8, sequence["folder"]


def test_a_rendered_item_taken_away_leaves_an_empty_tray() -> None:
    """The sequence backwards, after itself."""
    for sequence in sequences(of_items=True):
        trigger, there = presence(), rendered(sequence)
        back = [
            Frame(frame.pixels, 60 + n / FPS, 100 + n) for n, frame in enumerate(reversed(there))
        ]
        assert len(play(trigger, [*there, *back])) == 1, sequence["folder"]
        assert trigger.state == "empty", sequence["folder"]


def test_no_rendered_hand_or_light_is_an_item() -> None:
    """A hand reaches in and goes; a lamp is switched on."""
    found = sequences(of_items=False)
    assert {s["item"] for s in found} == {"hand", "light"}
    for sequence in found:
        trigger = presence()
        assert play(trigger, rendered(sequence, repeat_last=10)) == [], sequence["folder"]
        assert trigger.state == "empty", sequence["folder"]


def test_a_command_of_long_ago_is_not_judged_by_the_frames_of_now() -> None:
    """The item that was meant is gone when a camera comes back after a minute."""
    trigger = build_trigger("command", votes=1)
    trigger.fire(0.0)
    assert trigger.open_items == 1
    assert trigger.see(stamped(60)) is None and trigger.open_items == 0


def test_votes_of_an_interval_do_not_span_a_gap() -> None:
    """Two frames from before an outage and one from after show different things."""
    trigger = build_trigger("interval", votes=3, interval_s=1.0)
    assert trigger.see(stamped(1)) is None and trigger.see(stamped(2)) is None
    items = [item for at_s in (60, 61, 62) if (item := trigger.see(stamped(at_s)))]
    assert [frame.captured_s for frame in items[0].frames] == [60, 61, 62]
