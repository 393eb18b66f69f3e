"""Things that are not waste we know: what a sorter should call unknown. A name and its builder."""

from . import gadgets, household, plants, toys, workshop

THINGS = {
    "phone": gadgets.phone,
    "keys": gadgets.keys,
    "screwdriver": workshop.screwdriver,
    "hammer": workshop.hammer,
    "pliers": workshop.pliers,
    "potted": plants.potted,
    "twig": plants.twig,
    "flower": plants.flower,
    "bricks": toys.bricks,
    "car": toys.car,
    "bear": toys.bear,
    "ball": toys.beach_ball,
    "remote": gadgets.remote,
    "sunglasses": gadgets.sunglasses,
    "glove": household.glove,
    "shoe": household.shoe,
    "mug": household.mug,
    "spoon": household.spoon,
    "apple": plants.apple,
}
