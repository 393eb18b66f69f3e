"""Command line: python -m tools.render stills | drops | samples | challenge."""

import argparse
import itertools
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from . import catalogue, challenge, files, plan
from .items import ITEMS, NOTHING
from .scene import Shot
from .surfaces import SURFACES
from .things import THINGS

ABOUT = """Render waste items on surfaces with Blender.

The same item, surface and seed give the same picture; the seed alone decides the item's own
shape, label and dents. About 5 s a picture on two cores.
"""


def main() -> int:
    options = _parser().parse_args()
    _hush()
    return options.run(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.render",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    stills = _command(commands, "stills", _stills, "single pictures of items at rest")
    _choice(stills, "--items", [*ITEMS, *THINGS, NOTHING], f"or {NOTHING}, the empty surface")
    stills.add_argument("--masks", action="store_true", help="write NAME.mask.png beside each")
    stills.add_argument("--clean", action="store_true", help="no camera noise, blur or vignette")
    stills.add_argument("--by-class", action="store_true", help="one folder for each class")
    stills.add_argument("--png", action="store_true", help="PNG in place of JPEG")
    drops = _command(commands, "drops", _drops, "sequences: an item falls in and lies still")
    _choice(drops, "--items", [*ITEMS, "hand", "light"], "hand and light leave no item behind")
    for command in (stills, drops):
        _choice(command, "--surfaces", list(SURFACES), "what the item lies on")
        command.add_argument(
            "--seeds", type=_numbers, default=[1], help="such as 1 or 1,2,7 or 1-20 (default 1)"
        )
    samples = _command(commands, "samples", _samples, "the frames shipped in edge/samples")
    samples.add_argument("--only", type=_names, default=[], help="render these names again")
    hard = _command(commands, "challenge", _challenge, "what a sorter must not be fooled by")
    hard.add_argument("--only", type=_names, default=[], help="names start so: unknown/phone")
    hard.add_argument("--missing", action="store_true", help="only files that are not there yet")
    hard.set_defaults(size=plan.SIZE, samples=5)
    return parser


def _command(commands, name: str, run, about: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=about, description=about)
    command.set_defaults(run=run)
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write")
    command.add_argument("--size", type=_size, default=(512, 384), help="px (default 512x384)")
    command.add_argument("--samples", type=int, default=16, help="rays a pixel (default 16)")
    command.add_argument(
        "--threads", type=int, default=os.cpu_count() or 2, help="(default: one a core)"
    )
    return command


def _choice(command, option: str, allowed: list[str], about: str) -> None:
    """Add an option that takes some of a list of names, by default those that come first."""

    def chosen(text: str) -> list[str]:
        unknown = [name for name in _names(text) if name not in allowed]
        if unknown:
            raise argparse.ArgumentTypeError(f"no {unknown[0]!r}: one of {', '.join(allowed)}")
        return _names(text)

    help_text = f"of {', '.join(allowed)}; {about} (default {allowed[0]})"
    command.add_argument(option, type=chosen, default=[allowed[0]], help=help_text)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _numbers(text: str) -> list[int]:
    numbers = []
    for part in _names(text):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return int(width), int(height)


def _shots(options) -> Iterator[Shot]:
    settings = {key: getattr(options, key) for key in ("size", "samples", "threads")}
    for item, surface in itertools.product(options.items, options.surfaces):
        for seed in options.seeds:
            yield Shot(item, surface, seed, **settings)


def _stills(options) -> int:
    entries = []
    for shot in _shots(options):
        suffix = ".png" if options.png else ".jpg"
        name = f"{shot.item}_{shot.surface}_{shot.seed}{suffix}"
        if options.by_class:
            name = f"{ITEMS[shot.item].label if shot.item in ITEMS else NOTHING}/{name}"
        _say(name)
        path = options.out / name
        shown = files.write_still(shot, path, mask=options.masks, clean=options.clean)
        entries.append({"file": name, **shown})
    return _index(options.out / "stills.json", entries)


def _drops(options) -> int:
    entries = []
    for shot in _shots(options):
        name = f"{files.sequence_name(shot)}_{shot.seed}"
        _say(name)
        entries.append({"folder": name, **files.write_sequence(shot, options.out / name)})
    return _index(options.out / "drops.json", entries)


def _samples(options) -> int:
    template = Shot(NOTHING, "white", 1, options.size, options.samples, options.threads)
    catalogue.write(options.out, template, set(options.only), _say)
    return 0


def _challenge(options) -> int:
    settings = {key: getattr(options, key) for key in ("size", "samples", "threads")}
    template = Shot(NOTHING, "white", 1, **settings, quick=True)
    challenge.write(options.out, template, options.only, options.missing, _say)
    return 0


def _index(path: Path, entries: list[dict]) -> int:
    path.write_text(json.dumps(entries, indent=1) + "\n")
    _say(path.name)
    return 0


def _say(name: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {name}", file=sys.stderr, flush=True)


def _hush() -> None:
    """Send Blender's own chatter, which comes from C, to nowhere; stderr stays."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


if __name__ == "__main__":
    sys.exit(main())
