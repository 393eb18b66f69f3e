"""The sample frames shipped with the daemon, one by one, and the command that makes them again."""

import json
from dataclasses import replace
from pathlib import Path

from . import files
from .scene import Shot

LICENCE = "MIT. Rendered by this project: every shape, label and surface is our own drawing."
COMMAND = "python -m tools.render samples --out edge/samples"
INDEX = "samples.json"
DROP_SIZE = (320, 240)

ACCEPTANCE = [  # item, surface, seed: what any classifier we ship must get right
    (item, surface, 1)
    for surface in ("white", "wood")
    for item in ("can", "beer", "pet", "paper", "cardboard", "wrapper")
]
MORE = [
    ("tin", "steel", 1),
    ("can", "belt", 6),
    ("tin", "white", 4),
    ("wine", "concrete", 1),
    ("jar", "steel", 1),
    ("beer", "belt", 2),
    ("detergent", "concrete", 1),
    ("tub", "belt", 1),
    ("pet", "cloth", 4),
    ("newspaper", "belt", 1),
    ("sheet", "cloth", 1),
    ("paper", "concrete", 2),
    ("carton", "cloth", 1),
    ("flattened", "concrete", 1),
    ("cardboard", "steel", 2),
    ("bar", "steel", 1),
    ("wrapper", "belt", 2),
    ("bar", "white", 3),
]
SEQUENCES = [
    ("can", "belt", 3),
    ("beer", "white", 3),
    ("pet", "steel", 3),
    ("carton", "belt", 3),
    ("newspaper", "wood", 3),
    ("wrapper", "concrete", 3),
    ("hand", "belt", 1),
    ("light", "steel", 1),
]


def write(folder: Path, template: Shot, only: set[str], say) -> None:
    """Render the shipped frames whose names are in only (empty: all), and the index of all."""
    index = folder / INDEX
    known = _known(index)
    stills = [_still(folder, template, known, only, say, *entry) for entry in ACCEPTANCE + MORE]
    small = replace(template, size=DROP_SIZE)
    drops = [_sequence(folder, small, known, only, say, *entry) for entry in SEQUENCES]
    content = {"licence": LICENCE, "made_with": COMMAND, "stills": stills, "drops": drops}
    index.write_text(json.dumps(content, indent=1) + "\n")


def _known(index: Path) -> dict[str, dict]:
    """Return the entries of an earlier index by file or folder."""
    if not index.exists():
        return {}
    content = json.loads(index.read_text())
    entries = content["stills"] + content["drops"]
    return {entry.get("file") or entry["folder"]: entry for entry in entries}


def _still(folder, template, known, only, say, item, surface, seed) -> dict:
    shot = replace(template, item=item, surface=surface, seed=seed)
    first = (item, surface, seed) in ACCEPTANCE
    name = f"{item}_{surface}" if seed == 1 else f"{item}_{surface}_{seed}"
    file = f"stills/{name}.jpg"
    if only and name not in only and file in known:
        return known[file]
    say(file)
    shown = files.write_still(shot, folder / file)
    return {"file": file, **shown, "acceptance": first}


def _sequence(folder, template, known, only, say, item, surface, seed) -> dict:
    shot = replace(template, item=item, surface=surface, seed=seed)
    name = files.sequence_name(shot)
    place = f"drops/{name}"
    if only and name not in only and place in known:
        return known[place]
    say(place)
    return {"folder": place, **files.write_sequence(shot, folder / place)}
