"""What the challenge set holds, picture by picture. Needs no Blender: tests compare files with it.

`tune` may be looked at to choose a threshold, `test` may only be measured on. The unknown things
are split by kind, the empty scenes by surface; the factorial set is all `test`, and the items to
tune by are other pieces, each shaped, labelled and dented by a seed that no other picture has.
"""

from dataclasses import asdict, dataclass

SIZE = (320, 240)  # px
LICENCE = "MIT. Rendered by this project: every shape, label and surface is our own drawing."
COMMAND = "python -m tools.render challenge --out tests/data/challenge"
SURFACES = ("white", "wood", "steel", "belt", "concrete", "cloth", "kraft", "dark")

TEST_KINDS = {  # the kind as a person would name it, and the things that are drawn for it
    "hand": ("hand",),
    "phone": ("phone",),
    "keys": ("keys",),
    "tool": ("screwdriver", "hammer", "pliers"),
    "plant": ("potted", "twig", "flower"),
    "toy": ("bricks", "car", "bear", "ball"),
}
TUNE_KINDS = {
    name: (name,) for name in ("remote", "sunglasses", "glove", "shoe", "mug", "spoon", "apple")
}
SHOTS = {"hand": 14, "phone": 10, "keys": 10, "tool": 5, "plant": 5, "toy": 5}  # of each thing
TUNE_SHOTS = 6

LIGHTS = ("lit", "bright", "dim", "dark", "uneven", "shadow", "shadows", "warm")
TUNE_SURFACES = ("concrete", "cloth", "kraft")

ITEMS = {  # two of each class
    "cardboard": "cardboard",
    "carton": "cardboard",
    "beer": "glass",
    "jar": "glass",
    "can": "metal",
    "tin": "metal",
    "newspaper": "paper",
    "paper": "paper",
    "pet": "plastic",
    "detergent": "plastic",
    "bar": "trash",
    "wrapper": "trash",
}
FACTORIAL_SEED = 11  # no other picture of ours has it
TUNE_ITEMS = {  # no trash: a bag is blown up as cloth, for minutes; the sample frames have some
    **{item: ITEMS[item] for item in ("cardboard", "carton", "beer", "jar", "can", "tin")},
    **{"paper": "paper", "sheet": "paper", "pet": "plastic", "tub": "plastic"},
}
TUNE_ITEM_SEED = 40  # and the next seven, one for each surface
MORE_TUNE_SEED = 7  # of things to tune by, the same

SEQUENCES = [  # what happens, surface, seed, split
    ("shadow", "steel", 21, "test"),
    ("shadow", "belt", 22, "test"),
    ("shadow", "concrete", 24, "tune"),
    ("hand", "dark", 21, "test"),
    ("hand", "white", 22, "test"),
    ("hand", "cloth", 24, "tune"),
]


@dataclass(frozen=True, slots=True)
class Picture:
    """One still: `item` is what is drawn, `kind` what a report calls it."""

    file: str
    group: str  # unknown, empty, factorial or items
    kind: str
    item: str
    surface: str
    seed: int
    split: str
    light: str = "lit"
    label: str | None = None  # the true class, where it has one


def pictures() -> list[Picture]:
    """Return all stills, in the order they are rendered."""
    unknown = [*_unknown(TEST_KINDS, "test"), *_unknown(TUNE_KINDS, "tune"), *_more_unknown()]
    return [*unknown, *_empty(), *_factorial(), *_items()]


def catalogue(frames: dict[str, int]) -> dict:
    """Return the content of catalogue.json; frames counts each sequence's files."""
    sequences = []
    for what, surface, seed, split in SEQUENCES:
        folder = sequence_folder(what, surface)
        sequences.append(
            {"folder": folder, "kind": what, "surface": surface, "seed": seed, "split": split,
             "frames": frames[folder]}
        )  # fmt: skip
    return {
        "licence": LICENCE,
        "made_with": COMMAND,
        "size": list(SIZE),
        "pictures": [asdict(picture) for picture in pictures()],
        "sequences": sequences,
    }


def sequence_folder(what: str, surface: str) -> str:
    return f"sequences/{what}_{surface}"


def _unknown(kinds: dict[str, tuple[str, ...]], split: str):
    """Spread the shots of each thing over the surfaces; its seed is its number, from 1."""
    turn = 0
    for kind, things in kinds.items():
        for thing in things:
            for seed in range(1, SHOTS.get(kind, TUNE_SHOTS) + 1):
                surface = SURFACES[turn % len(SURFACES)]
                turn += 1
                file = f"unknown/{thing}_{surface}_{seed}.jpg"
                yield Picture(file, "unknown", kind, thing, surface, seed, split)


def _more_unknown():
    """Each thing to tune by once more on each surface."""
    for kind, things in TUNE_KINDS.items():
        for thing in things:
            for seed, surface in enumerate(SURFACES, MORE_TUNE_SEED):
                file = f"unknown/{thing}_{surface}_{seed}.jpg"
                yield Picture(file, "unknown", kind, thing, surface, seed, "tune")


def _empty():
    for number, surface in enumerate(SURFACES):
        split = "tune" if surface in TUNE_SURFACES else "test"
        for light in LIGHTS:
            file = f"empty/{surface}_{light}.jpg"
            seed = 100 + number
            yield Picture(file, "empty", "empty", "none", surface, seed, split, light)


def _factorial():
    for item, label in ITEMS.items():
        for surface in SURFACES:
            file = f"factorial/{item}_{surface}.jpg"
            seed = FACTORIAL_SEED
            yield Picture(file, "factorial", item, item, surface, seed, "test", "lit", label)


def _items():
    """Another piece of each item on each surface: what a rule of rejection must let through."""
    for item, label in TUNE_ITEMS.items():
        for seed, surface in enumerate(SURFACES, TUNE_ITEM_SEED):
            file = f"items/{item}_{surface}.jpg"
            yield Picture(file, "items", item, item, surface, seed, "tune", "lit", label)
