"""The [belt] section: what a plant engineer gets wrong is told at once, with the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.belt.belt import Belt
from edge.belt.pins import SensorError
from edge.config import Config, parse_config
from edge.errors import ConfigError
from edge.parts import belt_of, trigger_of
from edge.triggers.encoder import EncoderTrigger
from edge.triggers.gate import GateTrigger
from edge.triggers.line import LineTrigger
from edge.triggers.moving import MovingTrigger

BELT = """
[trigger]
kind = "{kind}"
[routes]
safe = "residual"
[routes.by_class]
metal = "packaging"
[belt]
clock = "{clock}"
{more}
[belt.diverters_mm]
{diverters}
"""


def belt_text(
    kind: str = "gate",
    clock: str = "fixed",
    more: str = "gate_pin = 17",
    diverters: str = "packaging = 900",
) -> str:
    return BELT.format(kind=kind, clock=clock, more=more, diverters=diverters)


def faults_of(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    return "\n".join(caught.value.faults)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('[trigger]\nkind = "gate"\n', 'trigger.kind = "gate": needs belt.clock = "fixed"'),
        (belt_text(kind="presence"), "on a belt one of gate, encoder, line, command"),
        (belt_text(more=""), "belt.gate_pin: must be given for the gate trigger"),
        (belt_text(clock="encoder"), "belt.encoder_a: must be given for the encoder clock"),
        (belt_text(kind="encoder"), 'the encoder trigger needs "encoder"'),
        (
            belt_text(clock="encoder", more="gate_pin = 17\nencoder_a = 17"),
            "belt.encoder_a = 17: GPIO 17 is taken by belt.gate_pin",
        ),
        (
            belt_text(more="gate_pin = 17\nencoder_b = 6"),
            "belt.encoder_a: must be given with belt.encoder_b",
        ),
        (
            belt_text()
            + '[actuator]\nmode = "local"\n[actuator.devices.flap]\nkind = "kicker"\npin = 17\n'
            'route = "packaging"\n',
            "belt.gate_pin = 17: GPIO 17 is taken by actuator.devices.flap.pin",
        ),
        (belt_text(diverters=""), "packaging is missing; say where its diverter is"),
        (belt_text(diverters="packaging = 900\nglass = 1000"), "no class goes there"),
        (belt_text(diverters="packaging = 90"), "= 90: must be beyond the camera"),
        (belt_text(more="gate_pin = 17\ndebounce_ms = 90"), "would be taken for one"),
        (belt_text(diverters='packaging = "far"'), "must be 1..100000 mm"),
    ],
)
def test_faults_of_a_belt_are_sentences(text: str, fault: str) -> None:
    """Each names the option, what is wrong, and what is allowed."""
    assert fault in faults_of(text)


def test_without_a_belt_nothing_changes() -> None:
    """Items lie still by default."""
    assert belt_of(Config()) is None


@pytest.mark.parametrize(
    ("kind", "clock", "more", "made"),
    [
        ("gate", "fixed", "gate_pin = 17", GateTrigger),
        ("encoder", "encoder", "encoder_a = 5\nencoder_b = 6", EncoderTrigger),
        ("line", "fixed", "", LineTrigger),
        ("command", "encoder", "encoder_a = 5", MovingTrigger),
    ],
)
def test_each_kind_of_belt_trigger_is_built(
    kind: str, clock: str, more: str, made: type[MovingTrigger]
) -> None:
    """Pins are claimed when the belt starts, not before: check-config needs none."""
    config = parse_config(belt_text(kind, clock, more))
    belt = belt_of(config)
    assert isinstance(belt, Belt)
    assert type(trigger_of(config, belt=belt)) is made


def test_a_host_without_pins_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """At the start, in words about the belt."""
    pytest.importorskip("lgpio")
    monkeypatch.setattr("edge.actuator.gpio.CHIPS", tmp_path)
    belt = belt_of(parse_config(belt_text()))
    assert belt is not None
    with pytest.raises(SensorError, match=r"belt: no .*gpiochip.*; a light gate"):
        belt.start()


def test_a_reload_cannot_begin_a_belt() -> None:
    """Pins and clock are a matter of the start; the operator is told so."""
    config = parse_config(belt_text())
    with pytest.raises(ConfigError, match="a belt is begun by a restart"):
        trigger_of(config, belt=None)
