"""The only importer of gpiozero: pins by BCM number, in their safe state from the first moment.

lgpio is named as the pin factory, and never silently another one. Each fault is one sentence.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from edge.actuator.values import ActuatorError
from edge.errors import MissingExtraError

FRAME_S = 0.02  # of a hobby servo: 50 Hz
INSTALL = "pip install 'smartbin[pi]'"
CHIPS = Path("/dev")


class Output(Protocol):
    """A pin that is on or off; off is its safe state."""

    def on(self) -> None: ...
    def off(self) -> None: ...
    def close(self) -> None: ...


class Servo(Protocol):
    """A pin with servo pulses; None is no pulses."""

    angle: float | None

    def close(self) -> None: ...


class Pins:
    """Gives out pins; `factory` is gpiozero's, the default is lgpio on this board."""

    def __init__(self, factory: Any = None) -> None:
        self._factory = lgpio_factory() if factory is None else factory

    def output(self, pin: int, *, active_high: bool) -> Output:
        """An output that is off; raises ActuatorError."""
        import gpiozero

        with _faults(pin):
            return gpiozero.DigitalOutputDevice(  # type: ignore[no-any-return]
                pin, active_high=active_high, initial_value=False, pin_factory=self._factory
            )

    def switch(self, pin: int) -> Switch:
        """An end switch between the pin and ground; raises ActuatorError."""
        import gpiozero

        with _faults(pin):
            device = gpiozero.DigitalInputDevice(pin, pull_up=True, pin_factory=self._factory)
        return Switch(device, pin)

    def servo(
        self, pin: int, *, span_deg: tuple[float, float], pulse_s: tuple[float, float]
    ) -> Servo:
        """A servo without pulses yet, so that it does not jump; raises ActuatorError."""
        import gpiozero

        with _faults(pin):
            return gpiozero.AngularServo(  # type: ignore[no-any-return]
                pin,
                initial_angle=None,
                min_angle=span_deg[0],
                max_angle=span_deg[1],
                min_pulse_width=pulse_s[0],
                max_pulse_width=pulse_s[1],
                frame_width=FRAME_S,
                pin_factory=self._factory,
            )

    def trouble(self, pin: int) -> str:
        """Why a pin cannot be had, in words; it is asked for as an input, so nothing stirs."""
        import gpiozero

        try:
            with _faults(pin):
                gpiozero.InputDevice(pin, pin_factory=self._factory).close()
        except ActuatorError as error:
            return str(error)
        return ""


class Switch:
    """An end switch: `pressed` while it joins its pin with ground."""

    def __init__(self, device: Any, pin: int) -> None:
        self._device = device
        self.pin = pin

    @property
    def pressed(self) -> bool:
        return bool(self._device.is_active)

    def close(self) -> None:
        self._device.close()


def lgpio_factory() -> Any:
    """gpiozero's pins through lgpio; raises ActuatorError, MissingExtraError."""
    chips = sorted(CHIPS.glob("gpiochip*"))
    if not chips:
        raise ActuatorError(
            f"no {CHIPS}/gpiochip*: this is no Raspberry Pi, or its kernel gives no GPIO; "
            'use kind = "simulated", or run the actuator on a Pi'
        )
    shut = [str(chip) for chip in chips if not os.access(chip, os.R_OK | os.W_OK)]
    if len(shut) == len(chips):
        raise ActuatorError(
            f"no permission for {', '.join(shut)}: run sudo usermod -aG gpio USER, then log in "
            "again; under systemd: SupplementaryGroups=gpio"
        )
    try:
        from gpiozero.exc import GPIOZeroError
        from gpiozero.pins.lgpio import LGPIOFactory
    except ImportError as error:
        raise MissingExtraError(f"gpiozero and lgpio are not installed; run: {INSTALL}") from error
    try:
        return LGPIOFactory()
    except (GPIOZeroError, OSError, RuntimeError) as error:
        raise ActuatorError(f"the GPIO chip cannot be opened: {error}") from error
    except Exception as error:
        if type(error).__module__ != "lgpio":  # lgpio.error is a plain Exception
            raise
        raise ActuatorError(f"the GPIO chip cannot be opened: {error}") from error


@contextlib.contextmanager
def _faults(pin: int) -> Iterator[None]:
    """Turn what the libraries raise into a sentence about the pin."""
    import gpiozero.exc as exc

    try:
        yield
    except exc.GPIOPinInUse as error:
        raise ActuatorError(f"GPIO {pin} is used twice in this process") from error
    except exc.PinInvalidPin as error:
        raise ActuatorError(f"GPIO {pin} does not exist on this board; it has 0..27") from error
    except PermissionError as error:
        raise ActuatorError(f"no permission for GPIO {pin}; add the user to group gpio") from error
    except (exc.GPIOZeroError, OSError) as error:
        raise ActuatorError(_sentence(pin, str(error))) from error
    except Exception as error:
        if type(error).__module__ != "lgpio":
            raise
        raise ActuatorError(_sentence(pin, str(error))) from error


def _sentence(pin: int, text: str) -> str:
    if "busy" in text.lower() or os.strerror(errno.EBUSY).lower() in text.lower():
        return (
            f"GPIO {pin} is in use by another program or a device tree overlay; "
            f"gpioinfo says by which; end it or take another pin"
        )
    return f"GPIO {pin} cannot be had: {text}; pinctrl get {pin} says what it does"
