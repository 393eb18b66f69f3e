"""Items on the belt while the bin is told something else: none is dropped without a word."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.belt.clock import EncoderClock
from edge.config import parse_config
from edge.errors import ConfigError
from edge.mind import Mind, mind_of
from edge.parts import belt_of
from edge.triggers import build_trigger
from edge.triggers.belt import moving_trigger
from edge.triggers.encoder import EncoderTrigger
from edge.triggers.gate import GateTrigger
from edge.triggers.line import LineTrigger
from edge.triggers.moving import MovingTrigger
from tests.harness import Listener, Mosquitto, RunningDaemon, wait_for
from tests.test_daemon import ask, payloads, states
from tests.test_gate import HOLD_S, SPEED_MM_S, Now, frame_at, play, tracker

Write = Callable[..., Path]
BELT = """
[belt]
clock = "fixed"
speed_mm_s = 1
gate_pin = 17
camera_mm = 10000
min_gap_mm = 0
debounce_ms = 0
[belt.diverters_mm]
left = 20000
"""


def gate(now: Now, *, begun_s: float = 10.0) -> GateTrigger:
    """One whose beam was broken at `begun_s`, and is still."""
    trigger = GateTrigger(tracker(), hold_s=HOLD_S, clock=now)
    trigger.edge(begun_s, True)
    return trigger


def test_items_given_up_come_back_in_order_and_barred() -> None:
    """Those whose edge has only just come too; what was barred before keeps its reason."""
    now = Now()
    trigger = gate(now)
    for at_s, broken in ((10.1, False), (10.11, True), (10.2, False), (10.5, True)):
        trigger.edge(at_s, broken)
    now.now_s = 10.6
    items = trigger.give_up("paused by a command")
    assert [item.trigger_s for item in items] == [10.0, 10.11, 10.5]
    assert [item.barred and item.barred[0] for item in items] == ["ambiguous", "ambiguous", "fault"]
    assert items[-1].barred == ("fault", "paused by a command")
    assert trigger.open_items == 0 and trigger.give_up("again") == []


@pytest.mark.parametrize(("gap_mm", "barred"), [(30, True), (60, False)])
def test_what_comes_after_a_pause_keeps_its_gap_to_what_passed_in_it(
    gap_mm: float, barred: bool
) -> None:
    """Something is in the beam when it resumes: unlooked at, but a kick would take it along."""
    now = Now()
    trigger = gate(now)
    now.now_s = 10.1
    trigger.reset()
    trigger.edge(10.2, False)
    lead_s = 10.2 + gap_mm / SPEED_MM_S
    trigger.edge(lead_s, True)
    trigger.edge(lead_s + 0.1, False)
    (item,) = play(trigger, now, 11.0)
    assert item.trigger_s == lead_s and bool(item.barred) is barred


def test_a_beam_that_stays_dark_over_a_pause_is_told() -> None:
    """A jam that begins in a pause is a jam after it."""
    now = Now()
    trigger = gate(now)
    now.now_s = 10.1
    trigger.reset()
    play(trigger, now, 10.0 + 3 * 300 / SPEED_MM_S)
    assert trigger.trouble == ""
    play(trigger, now, now.now_s + 0.5)
    assert "the trigger has been covered" in trigger.trouble


def test_pockets_stay_where_they_are_over_a_pause() -> None:
    """The phase of the pockets is the belt's, whatever is forgotten."""
    now = Now()
    belt = EncoderClock(mm_per_pulse=10, max_speed_mm_s=5000)
    trigger = EncoderTrigger(tracker(belt), belt=belt, pitch_mm=200, clock=now)
    fired_mm = []
    for pulse in range(100):  # to 1,000 mm; paused from 350 to 750 mm
        now.now_s += 0.01
        belt.pulse(now.now_s)
        if pulse == 75:
            trigger.reset()
        if not 35 <= pulse < 75:
            item = trigger.see(frame_at(now.now_s))
            while item:
                fired_mm.append(item.place_mm)
                item = trigger.due(now.now_s)
    assert fired_mm == pytest.approx([210, 810], abs=1)


def test_dirt_on_the_line_costs_no_item_its_place() -> None:
    """What covers it for absorb_s is the line's new look; the numbers go on, and no jam stays."""
    now = Now()
    trigger = LineTrigger(
        tracker(), line_at=0.5, across="x", min_share=0.05, absorb_s=1.0, clock=now
    )
    empty, dirty = frame_at(0).pixels, frame_at(0).pixels + 90
    play(trigger, now, 11.0, lambda now_s: empty)
    items = play(trigger, now, 14.0, lambda now_s: dirty)
    assert len(items) == 1 and items[0].barred and "two that touch" in items[0].barred[1]
    assert trigger.trouble == ""


@pytest.mark.parametrize("kind", ["presence", "interval", "command"])
def test_items_that_lie_still_are_given_up_with_a_word_too(kind: str) -> None:
    """A command that waits for its frames, and the frames of an item that has begun."""
    trigger = build_trigger(kind, votes=3, interval_s=9.0)
    trigger.fire(0.0)
    trigger.see(frame_at(1.0))
    count = trigger.open_items
    items = trigger.give_up("paused by a command")
    assert len(items) == count == (2 if kind == "interval" else 1)
    assert {item.barred for item in items} == {("fault", "paused by a command")}
    assert len(items[0].frames) == 1 and trigger.open_items == 0


@pytest.mark.parametrize("by", ["command", "gate"])
def test_what_is_put_on_a_belt_that_stands_is_an_item_after_a_pause(by: str) -> None:
    """Nobody knows what lay there when it resumed, so it goes the safe way, and is told."""
    now, belt = Now(), EncoderClock(mm_per_pulse=10, max_speed_mm_s=5000)
    trigger = GateTrigger(tracker(belt), hold_s=HOLD_S, clock=now)
    trigger.give_up("paused by a command")
    trigger.reset()
    now.now_s += 1
    if by == "command":
        assert trigger.fire(now.now_s)
    else:
        trigger.edge(now.now_s, True)
        trigger.see(frame_at(now.now_s))
    assert trigger.open_items == 1
    (item,) = trigger.give_up("the end")
    assert item.barred and item.barred[0] in ("ambiguous", "fault")


def test_a_covered_gate_is_no_jam_of_the_trigger_that_follows_it() -> None:
    """Whoever looks from now on never hears the end of what covered the gate."""
    now, line = Now(), tracker()
    covered = GateTrigger(line, hold_s=HOLD_S, clock=now)
    covered.edge(now.now_s, True)
    covered.give_up("another trigger looks from now on")
    follower = MovingTrigger(line, clock=now)
    follower.reset()
    play(follower, now, now.now_s + 60)
    assert follower.trouble == ""


# The configuration read again


@pytest.fixture
def mind(write_config: Write) -> Mind:
    """On a belt so slow that an item never meets the camera."""
    config = write_config(1, extra=BELT)
    config.write_text(config.read_text().replace('kind = "frame"', 'kind = "command"'))
    parsed = parse_config(config.read_text(), file=str(config))
    return mind_of(parsed, None, belt_of(parsed))


def change(mind: Mind, old: str, new: str) -> tuple[str, ...]:
    """Read the file again with this changed."""
    path = Path(mind.config.file)
    path.write_text(path.read_text().replace(old, new))
    return mind.reload()


@pytest.mark.parametrize(
    "changed",
    [
        ("[trigger]", "[decision]\nvotes = 1\n[trigger]"),
        ("[trigger]", "[trigger]\nabsorb_s = 60\nsettle_s = 1"),
        ('safe = "rest"', 'safe = "other"'),
    ],
)
def test_a_reload_leaves_the_items_on_the_belt(mind: Mind, changed: tuple[str, str]) -> None:
    """They are judged by the new rules, in their turn."""
    trigger = mind.trigger
    assert trigger.fire(10.0) and trigger.fire(11.0)
    assert change(mind, *changed) == ()
    assert mind.trigger is trigger and trigger.open_items == 2 and mind.next_dropped() is None


def test_another_kind_of_trigger_tells_the_items_of_the_old(mind: Mind) -> None:
    """Each once, as a fault with its reason; numbers and gaps go on in the same line."""
    assert mind.trigger.fire(10.0) and mind.trigger.fire(11.0)
    change(mind, 'kind = "command"', 'kind = "gate"')
    assert mind.untold == 2
    items = [mind.next_dropped(), mind.next_dropped()]
    assert [item and item.trigger_s for item in items] == [10.0, 11.0]
    assert items[0] and items[0].barred
    assert items[0].barred[0] == "fault" and "another trigger" in items[0].barred[1]
    assert mind.next_dropped() is None and mind.untold == 0


def test_what_passes_in_a_pause_is_never_told(mind: Mind) -> None:
    """Neither at its end, nor by a reload to another trigger, nor at the daemon's end."""
    assert mind.trigger.fire(10.0)
    mind.rest("paused by a command")
    assert mind.untold == 1 and mind.next_dropped()
    for end in (mind.wake, lambda: change(mind, 'kind = "command"', 'kind = "gate"')):
        mind.trigger.fire(20.0)
        mind.let_go("the daemon ends")
        end()
        assert mind.next_dropped() is None and mind.untold == 0
        mind.rest("paused by a command")


def test_a_route_to_a_diverter_that_is_not_there_yet_is_refused(mind: Mind) -> None:
    """The belt's own section begins with a restart: without fire_at, a kick would meet anything."""
    assert mind.trigger.fire(10.0)
    new = ("left = 20000", "right = 20000")
    with pytest.raises(ConfigError) as caught:
        path = Path(mind.config.file)
        path.write_text(path.read_text().replace('red = "left"', 'red = "right"'))
        change(mind, *new)
    (missing, unused) = sorted(caught.value.faults, key=len, reverse=True)
    assert "right is missing; say where its diverter is" in missing + unused
    assert missing.endswith("; what the file says of belt begins with a restart")
    assert mind.config.routes.by_class == {"red": "left"} and mind.trigger.open_items == 1


def test_another_trigger_finds_the_line_as_the_last_one_left_it(mind: Mind) -> None:
    """The tracker is the belt's."""
    belt = belt_of(mind.config)
    assert belt is not None
    made = [
        moving_trigger(kind, belt=belt, options=mind.config.belt, votes=1, absorb_s=0)
        for kind in ("command", "gate")
    ]
    made[0].fire(10.0)
    assert made[1].open_items == 1


@pytest.mark.mosquitto
def test_items_in_flight_are_events_whatever_is_asked(
    mosquitto: Mosquitto,
    listen: Callable[..., Listener],
    write_config: Write,
    run_daemon: Callable[..., RunningDaemon],
) -> None:
    """SIGHUP keeps what is on the belt; pause, another trigger and SIGTERM each tell it."""
    config = write_config(mosquitto.port, extra=BELT.replace("gate_pin = 17", ""))
    config.write_text(config.read_text().replace('kind = "frame"', 'kind = "command"'))
    listener = listen(mosquitto.port)
    daemon = run_daemon(config)
    wait_for(lambda: "ready" in states(listener), what="ready")

    def reasons() -> list[str]:
        told = [e for e in payloads(listener.of("event")) if e["type"] == "decision"]
        assert all(e["outcome"] == "fault" and e["route"] == "rest" for e in told)
        return [e["reason"] for e in told]

    assert ask(mosquitto.port, "trigger")["ok"]
    config.write_text(config.read_text() + "[decision]\nvotes = 1\n")
    daemon.send(signal.SIGHUP)
    wait_for(lambda: daemon.log.count("configuration read again") == 1, what="a reload")
    assert ask(mosquitto.port, "pause")["ok"] and ask(mosquitto.port, "resume")["ok"]
    wait_for(lambda: reasons() == ["paused by a command"], what="the item of before the reload")
    assert ask(mosquitto.port, "trigger")["ok"]
    config.write_text(config.read_text().replace('kind = "command"', 'kind = "line"'))
    daemon.send(signal.SIGHUP)
    wait_for(lambda: len(reasons()) == 2, what="the item of the trigger that went")
    assert "another trigger looks from now on" in reasons()[1]
    assert ask(mosquitto.port, "trigger")["ok"]
    daemon.send(signal.SIGTERM)
    assert daemon.wait() == 0
    wait_for(lambda: len(reasons()) == 3, what="the item of the end")
    assert reasons()[2] == "the daemon ends: asked to stop"
    wait_for(lambda: listener.last("state")["state"] == "stopped", what="the last word")
    assert listener.last("state")["reason"] == "asked to stop"
