"""`smartbin tray`: the command; what it learns and says is in edge.calibrate."""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from edge.calibrate import Lesson, Lookout, Outlook, learn_tray, outlook_of
from edge.capture import Capture
from edge.errors import TrayError
from edge.tray import save_tray

FIRST_FRAME_S = 15.0
DEFAULT_OUT = Path("tray.npz")
ANOTHER_LIGHT = 0.15  # of the usual one


def tray(
    config: Annotated[Path, typer.Option("--config", "-c", help="The configuration file.")] = Path(
        "config.toml"
    ),
    out: Annotated[
        Path | None, typer.Option(help="Where to store it; else tray.path, or tray.npz.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="How long to watch.")] = 20.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Learn the empty tray, its lights included, and say how well items will stand out."""
    from edge.config import load_config
    from edge.parts import camera_spec

    checked = load_config(config)
    path = out or (Path(checked.tray.path) if checked.tray.path else DEFAULT_OUT)
    logging.disable(logging.WARNING)  # a fault is said as one
    print(
        "Empty the tray and keep hands away; switch every lamp that is used there off and on.",
        file=sys.stderr,
    )
    with Capture(spec=camera_spec(checked)) as capture:
        lookout = watch(capture, seconds=seconds, tell=_progress if sys.stderr.isatty() else None)
    dirt = checked.trigger.min_area_frac
    lesson = learn_tray(lookout, learned_ts=time.time(), min_area_frac=dirt)
    outlook = outlook_of(lesson, lookout.samples)
    save_tray(lesson.model, path)
    if as_json:
        print(json.dumps(as_row(path, lesson, outlook)))
        return
    print("\n".join(as_text(path, lesson, outlook)))
    if Path(checked.tray.path) != path:
        print(f'\nTo use it, write into {config}, section [tray]: path = "{path.resolve()}"')


def watch(
    capture: Capture, *, seconds: float, tell: Callable[[float], None] | None = None
) -> Lookout:
    """Take in what a camera shows for a while, or until its source ends; raises CameraError."""
    lookout = Lookout()
    began_s = time.monotonic()
    until_s = began_s + FIRST_FRAME_S
    while not capture.ended and time.monotonic() < until_s:
        frame = capture.next(0.5)
        if frame is None:
            continue
        if not lookout.samples:
            began_s, until_s = time.monotonic(), time.monotonic() + seconds
        lookout.add(frame.pixels)
        if tell:
            tell((time.monotonic() - began_s) / seconds)
    if not lookout.samples:
        raise TrayError(f"no frame within {FIRST_FRAME_S:g} s; see smartbin doctor")
    return lookout


def _progress(share: float) -> None:
    done = round(min(share, 1.0) * 30)
    end = "\n" if share >= 1 else ""
    print(f"\r[{'#' * done}{'.' * (30 - done)}]", end=end, file=sys.stderr, flush=True)


def as_row(path: Path, lesson: Lesson, outlook: Outlook) -> dict[str, Any]:
    """JSON-ready: what was learned, and what to expect."""
    row = dataclasses.asdict(outlook)
    row["stands_out"] = {name: round(share, 3) for name, share in outlook.stands_out.items()}
    for name in ("brightness", "clipped", "noise", "texture", "saturation"):
        row[name] = round(row[name], 4)
    return {
        "path": str(path),
        "frames": lesson.model.frames,
        "left_out": lesson.left_out,
        "mistaken": lesson.mistaken,
        "size_px": [lesson.model.width_px, lesson.model.height_px],
        "light": [round(end, 2) for end in lesson.light_range],
        **row,
    }


def _alone(low: float, high: float) -> str:
    """A word where nobody touched a lamp: how the tray looks in another light is not known."""
    return "" if high - low > ANOTHER_LIGHT else ", no other was seen: switch lamps meanwhile"


def as_text(path: Path, lesson: Lesson, outlook: Outlook) -> list[str]:
    """For a person: the sentence first."""
    model = lesson.model
    low, high = lesson.light_range
    rows = [
        ("brightness", f"{outlook.brightness:.0f} of 255, {outlook.clipped:.1%} clipped"),
        ("noise", f"{outlook.noise:.1f} levels a pixel"),
        ("texture", f"{outlook.texture:.1%} of the light, from cell to cell"),
        ("colour", f"saturation {outlook.saturation:.0%}"),
        ("light", f"{low:.2f} to {high:.2f} of the usual one{_alone(low, high)}"),
        ("taken for empty", f"{model.frames - lesson.mistaken} of {model.frames} frames"),
        *((f"{name}", f"stands out on {share:.0%}") for name, share in outlook.stands_out.items()),
    ]
    head = (
        f"{path}: learned from {model.frames} frames of {model.width_px}x{model.height_px}"
        f"{f', {lesson.left_out} with something in them left out' if lesson.left_out else ''}"
    )
    return [
        f"{outlook.verdict}: {outlook.sentence}",
        "",
        *(f"  {name:<22} {text}" for name, text in rows),
        "",
        head,
    ]
