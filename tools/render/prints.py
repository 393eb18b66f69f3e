"""What is printed on film and paper: crisps bags, bar wrappers, pages, newspapers."""

import random

from PIL import Image

from . import drawing

BAGS = [  # top, bottom, oval, writing, flavour
    ((225, 50, 22), (165, 10, 22), (255, 216, 60), (190, 20, 20), "ready salted"),
    ((30, 110, 190), (10, 50, 120), (244, 244, 240), (16, 60, 150), "salt & vinegar"),
    ((50, 150, 60), (14, 84, 40), (250, 232, 120), (20, 100, 40), "sour cream"),
    ((120, 40, 130), (70, 14, 86), (255, 210, 120), (110, 20, 110), "sweet chilli"),
]
BARS = [  # film, stripe, writing, name
    ((70, 34, 20), (214, 160, 40), (250, 236, 200), "CHOCO"),
    ((20, 80, 160), (226, 40, 50), (250, 250, 250), "NUTTY"),
    ((214, 150, 20), (120, 50, 20), (90, 30, 14), "CARAMEL"),
]
HEADLINES = ["CITY WEIGHS ITS BINS", "RAIN AGAIN ON MONDAY", "HARBOUR LIGHT RETURNS"]


def crisps(rng: random.Random) -> Image.Image:
    top, bottom, oval, writing, flavour = rng.choice(BAGS)
    image, draw = drawing.canvas(1000, 1400, top)
    drawing.shaded(image, top, bottom)
    rim = tuple(int(level * 0.93) for level in oval)
    draw.ellipse([90, 230, 910, 720], fill=rim)
    draw.ellipse([120, 255, 880, 695], fill=oval)
    drawing.words(draw, (500, 440), "CRISPS", 205, writing, bold=8)
    drawing.words(draw, (500, 600), flavour, 84, tuple(level * 2 // 3 for level in writing))
    for _ in range(16):
        _crisp(draw, rng)
    for seam in (0, 1310):
        draw.rectangle([0, seam, 1000, seam + 90], fill=(205, 205, 210))
    return image


def _crisp(draw, rng: random.Random) -> None:
    x, y = rng.randint(180, 820), rng.randint(850, 1180)
    wide, high = rng.randint(90, 140), rng.randint(60, 100)
    box = [x - wide, y - high, x + wide, y + high]
    draw.ellipse(box, fill=(232, 180 + rng.randint(-15, 10), 80), outline=(170, 110, 30), width=7)
    for _ in range(8):
        spot_x = x + rng.randint(-wide // 2, wide // 2)
        spot_y = y + rng.randint(-high // 2, high // 2)
        draw.ellipse([spot_x, spot_y, spot_x + 9, spot_y + 7], fill=(196, 130, 40))


def bar(rng: random.Random) -> Image.Image:
    film, stripe, writing, name = rng.choice(BARS)
    image, draw = drawing.canvas(520, 1500, film)
    draw.polygon([(0, 330), (520, 200), (520, 330), (0, 460)], fill=stripe)
    draw.polygon([(0, 1170), (520, 1040), (520, 1170), (0, 1300)], fill=stripe)
    drawing.upright(image, (110, 380), name, 200, (*writing, 255), bold=8)
    drawing.small_print(draw, (380, 480), 110, 44, writing, rng)
    for seam in (0, 1410):
        draw.rectangle([0, seam, 520, seam + 90], fill=(196, 196, 200))
    return image


def page(rng: random.Random) -> Image.Image:
    """A letter or a page of a report."""
    image, draw = drawing.canvas(1000, 1400, (246, 246, 243))
    if rng.random() < 0.5:
        drawing.words(draw, (330, 110), "Quarterly report", 62, (40, 44, 60), bold=1)
    y = 200
    while y < 1250:
        paragraph = rng.randint(4, 11)
        for line in range(paragraph):
            last = line == paragraph - 1
            _line_of_text(draw, 110, 890, y, rng.uniform(0.3, 0.8) if last else 1.0, rng)
            y += 26
        y += 30
    return image


def _line_of_text(draw, left: int, right: int, y: int, share: float, rng: random.Random) -> None:
    x = left
    end = left + (right - left) * share
    while x < end:
        length = rng.randint(8, 40)
        draw.rectangle([x, y, min(x + length, end), y + 7], fill=(70, 70, 78))
        x += length + 9


def blank(rng: random.Random) -> Image.Image:
    """Unprinted office paper, hardly ever of the same white."""
    tint = rng.choice([(246, 246, 243), (246, 246, 243), (240, 236, 222), (232, 238, 244)])
    return Image.new("RGB", (64, 64), tint)


def newspaper(rng: random.Random) -> Image.Image:
    image, draw = drawing.canvas(1000, 1400, (214, 209, 196))
    drawing.words(draw, (500, 90), "The Daily Sorter", 104, (30, 30, 30), bold=2)
    draw.rectangle([50, 160, 950, 166], fill=(40, 40, 40))
    drawing.fitted(draw, (500, 240), rng.choice(HEADLINES), 880, 84, (30, 30, 30), bold=2)
    photo = rng.choice([50, 360])
    draw.rectangle([photo, 320, photo + 580, 700], fill=(120, 118, 112))
    scenery = (photo, 640, photo + 580, 700)
    drawing.hills(draw, scenery, 160, rng.uniform(0, 2), (66, 64, 62))
    other = 660 if photo == 50 else 50
    columns = [(other, 330), (50, 730), (355, 730), (660, 730)]
    for left, top in columns:
        stop = 690 if top == 330 else 1350
        for y in range(top, stop, 19):
            _line_of_text(draw, left, left + 285, y, 1.0, rng)
    return image
