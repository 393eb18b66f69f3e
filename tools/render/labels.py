"""Labels of bottles, cans, jars and cups, drawn anew for each seed."""

import random

from PIL import Image

from . import drawing

CANS = [  # name, can, writing, band
    ("FIZZ", (176, 14, 22), (250, 250, 248), (232, 232, 230)),
    ("ORANJ", (222, 98, 10), (255, 246, 225), (250, 214, 120)),
    ("LIMO", (24, 122, 50), (246, 250, 235), (206, 226, 70)),
    ("TONIC", (22, 62, 140), (238, 242, 250), (140, 176, 222)),
    ("KOLA", (28, 26, 28), (226, 226, 224), (190, 24, 30)),
]
BEERS = [  # name, kind, paper, band, gilt, seal
    ("LAGER", "PREMIUM BEER", (232, 220, 186), (22, 66, 38), (170, 128, 48), (160, 30, 25)),
    ("PILSNER", "BREWED COLD", (240, 238, 228), (150, 26, 30), (176, 140, 60), (28, 50, 110)),
    ("PORTER", "DARK & MILD", (222, 205, 160), (38, 30, 26), (150, 112, 50), (120, 30, 22)),
]
WATERS = [  # name, label, hills behind, middle, front
    ("AQUA", (20, 92, 178), (70, 150, 220), (235, 244, 250), (12, 60, 140)),
    ("RILL", (16, 128, 120), (80, 186, 170), (236, 248, 244), (8, 84, 84)),
    ("PEAK", (92, 60, 150), (150, 124, 204), (242, 238, 250), (60, 34, 110)),
]
TINS = [("TOMATO", (190, 34, 24)), ("BEANS", (26, 110, 130)), ("SWEETCORN", (36, 110, 44))]
JAMS = [("CHERRY", (150, 20, 46)), ("HONEY", (196, 128, 18)), ("GHERKIN", (60, 110, 36))]
CLEANERS = [("GLOSS", (250, 240, 60)), ("SUDS", (255, 255, 255)), ("BRITE", (255, 170, 30))]
YOGHURTS = [("STRAWBERRY", (206, 36, 70)), ("PEACH", (230, 132, 40)), ("BERRY", (86, 50, 140))]


def can(rng: random.Random) -> Image.Image:
    name, base, writing, band = rng.choice(CANS)
    width, height = 1600, 900
    image, draw = drawing.canvas(width, height, base)
    for left in (0, width // 2):
        drawing.ribbon(draw, left, width // 2, height * 0.5, 150, band)
        drawing.upright(image, (left + 250, 40), name, 220, (*writing, 255), bold=9)
    drawing.small_print(draw, (20, 620), 180, 16, (235, 225, 220), rng)
    drawing.bar_code(draw, (40, 120), 170, rng)
    draw.rectangle([0, 0, width, 14], fill=(215, 215, 215))
    draw.rectangle([0, height - 12, width, height], fill=(215, 215, 215))
    return image


def beer(rng: random.Random) -> Image.Image:
    name, kind, paper, band, gilt, seal = rng.choice(BEERS)
    image, draw = drawing.canvas(900, 900, paper)
    drawing.frame(draw, [18, 18, 881, 881], gilt, 12)
    draw.rectangle([0, 300, 900, 600], fill=band)
    draw.rectangle([0, 300, 900, 314], fill=gilt)
    draw.rectangle([0, 586, 900, 600], fill=gilt)
    drawing.fitted(draw, (450, 440), name, 780, 210, (238, 226, 190), bold=5)
    drawing.words(draw, (450, 555), kind, 58, (205, 168, 90))
    draw.ellipse([350, 70, 550, 270], fill=seal, outline=gilt, width=10)
    drawing.words(draw, (450, 170), str(rng.randint(1750, 1930)), 74, (240, 225, 180))
    drawing.small_print(draw, (200, 650), 500, 12, (90, 70, 40), rng)
    drawing.words(draw, (450, 830), "330 ml  5.0% vol", 50, (70, 50, 20))
    return image


def wine(rng: random.Random) -> Image.Image:
    paper = rng.choice([(240, 234, 218), (232, 224, 200), (36, 34, 36)])
    ink = (60, 24, 30) if paper[0] > 100 else (214, 190, 130)
    image, draw = drawing.canvas(900, 1000, paper)
    drawing.frame(draw, [30, 30, 869, 969], ink, 6)
    drawing.hills(draw, (120, 360, 780, 380), rng.uniform(90, 150), rng.uniform(0, 1), ink)
    name = rng.choice(["DOMAINE GRIS", "VAL D'OR", "CASA ROJA"])
    drawing.fitted(draw, (450, 500), name, 720, 130, ink, bold=3)
    drawing.words(draw, (450, 640), str(rng.randint(2009, 2023)), 110, ink)
    drawing.small_print(draw, (220, 740), 460, 8, ink, rng)
    drawing.words(draw, (450, 900), "750 ml", 54, ink)
    return image


def water(rng: random.Random) -> Image.Image:
    name, base, *layers = rng.choice(WATERS)
    image, draw = drawing.canvas(1600, 420, base)
    for left in (0, 800):
        for order, colour in enumerate(layers):
            top = 250 + 45 * order
            drawing.hills(draw, (left, top, left + 800, 420), 60, order * 0.7, colour)
        drawing.words(draw, (left + 330, 120), name, 150, "white", bold=5)
        drawing.words(draw, (left + 330, 215), "natural mineral water", 46, "white")
        drawing.small_print(draw, (left + 640, 40), 140, 22, (220, 235, 250), rng)
    drawing.bar_code(draw, (1300, 300), 90, rng)
    return image


def tin(rng: random.Random) -> Image.Image:
    name, base = rng.choice(TINS)
    image, draw = drawing.canvas(1600, 700, base)
    draw.rectangle([0, 500, 1600, 560], fill=(240, 226, 190))
    for left in (0, 800):
        fruit = tuple(min(255, level + 60) for level in base)
        draw.ellipse([left + 230, 300, left + 570, 640], fill=fruit, outline="white", width=8)
        drawing.fitted(draw, (left + 400, 170), name, 620, 190, (252, 246, 226), bold=6)
        drawing.words(draw, (left + 400, 470), "400 g", 90, (252, 246, 226), bold=3)
    drawing.small_print(draw, (650, 60), 180, 34, (240, 226, 190), rng)
    drawing.bar_code(draw, (690, 470), 150, rng)
    return image


def jam(rng: random.Random) -> Image.Image:
    name, ink = rng.choice(JAMS)
    image, draw = drawing.canvas(900, 560, (248, 243, 230))
    drawing.frame(draw, [20, 20, 879, 539], ink, 10)
    draw.ellipse([60, 140, 250, 330], fill=ink)
    drawing.fitted(draw, (560, 200), name, 520, 140, ink, bold=4)
    drawing.words(draw, (560, 330), "kitchen made", 64, (90, 70, 50))
    drawing.small_print(draw, (300, 400), 520, 9, (120, 100, 80), rng)
    return image


def cleaner(rng: random.Random) -> Image.Image:
    name, ink = rng.choice(CLEANERS)
    base = rng.choice([(24, 60, 150), (20, 110, 60), (190, 30, 40)])
    image, draw = drawing.canvas(900, 1100, base)
    draw.ellipse([80, 180, 820, 620], fill=ink)
    drawing.fitted(draw, (450, 400), name, 640, 240, base, bold=8)
    drawing.words(draw, (450, 720), "washes 40", 100, "white", bold=2)
    drawing.small_print(draw, (160, 820), 580, 14, (225, 230, 240), rng)
    return image


def yoghurt(rng: random.Random) -> Image.Image:
    name, ink = rng.choice(YOGHURTS)
    image, draw = drawing.canvas(1600, 700, (248, 247, 243))
    draw.rectangle([0, 560, 1600, 700], fill=ink)
    for left in (0, 800):
        draw.ellipse([left + 440, 300, left + 740, 560], fill=ink)
        drawing.words(draw, (left + 340, 190), "yoghurt", 150, (40, 60, 110), bold=4)
        drawing.fitted(draw, (left + 240, 430), name, 400, 110, ink, bold=3)
    drawing.small_print(draw, (60, 590), 600, 8, "white", rng)
    return image
