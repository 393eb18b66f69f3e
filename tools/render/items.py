"""The items there are: a name, the class it belongs to, and what builds it."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from . import cardboard, glass, metal, paper, plastic, trash
from .model import Model


@dataclass(frozen=True, slots=True)
class Item:
    label: str
    build: Callable[[random.Random], Model]


ITEMS = {
    "can": Item("metal", metal.can),
    "tin": Item("metal", metal.tin),
    "beer": Item("glass", glass.beer),
    "wine": Item("glass", glass.wine),
    "jar": Item("glass", glass.jar),
    "pet": Item("plastic", plastic.pet),
    "detergent": Item("plastic", plastic.detergent),
    "tub": Item("plastic", plastic.tub),
    "paper": Item("paper", paper.ball),
    "sheet": Item("paper", paper.sheet),
    "newspaper": Item("paper", paper.newspaper),
    "cardboard": Item("cardboard", cardboard.open_box),
    "carton": Item("cardboard", cardboard.carton),
    "flattened": Item("cardboard", cardboard.flattened),
    "wrapper": Item("trash", trash.crisps),
    "bar": Item("trash", trash.bar),
}
NOTHING = "none"  # the empty surface
