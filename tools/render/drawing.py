"""The pen all labels are drawn with: words, imitation small print, bar codes, waves.

Every brand is invented and every label is drawn here, so the pictures carry no one's rights.
"""

import math
import random

from PIL import Image, ImageDraw, ImageFont


def canvas(width: int, height: int, colour) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (width, height), colour)
    return image, ImageDraw.Draw(image)


def words(draw, centre, text: str, size: int, fill, *, bold: int = 0) -> None:
    """Write text round its centre; bold is the width of the stroke added."""
    font = ImageFont.load_default(size)
    draw.text(centre, text, font=font, fill=fill, anchor="mm", stroke_width=bold, stroke_fill=fill)


def fitted(draw, centre, text: str, width: int, most: int, fill, *, bold: int = 0) -> None:
    """Write text as large as the width allows, at most at the given size."""
    natural = ImageFont.load_default(100).getlength(text)
    words(draw, centre, text, min(most, int(100 * width / natural)), fill, bold=bold)


def upright(image: Image.Image, corner, text: str, size: int, fill, *, bold: int = 0) -> None:
    """Write text that runs from bottom to top, its box's corner given."""
    strip = Image.new("RGBA", (int(size * 3.75), int(size * 1.1)), (0, 0, 0, 0))
    centre = (strip.width / 2, strip.height / 2)
    fitted(ImageDraw.Draw(strip), centre, text, int(strip.width * 0.9), size, fill, bold=bold)
    strip = strip.rotate(90, expand=True)
    image.paste(strip, corner, strip)


def small_print(draw, corner, width: int, lines: int, fill, rng: random.Random) -> None:
    """Draw lines of dashes that read as small print from a distance."""
    x_start, y = corner
    for _ in range(lines):
        x = x_start
        while x < x_start + width * rng.uniform(0.8, 1):
            length = rng.randint(6, 26)
            draw.rectangle([x, y, x + length, y + 4], fill=fill)
            x += length + 6
        y += 11


def bar_code(draw, corner, height: int, rng: random.Random) -> None:
    x, y = corner
    draw.rectangle([x - 10, y - 8, x + 126, y + height + 8], fill="white")
    end = x + 116
    while x < end:
        width = rng.choice([2, 2, 4, 6])
        draw.rectangle([x, y, x + width - 1, y + height], fill="black")
        x += width + rng.choice([2, 4])


def frame(draw, box, outline, width: int) -> None:
    draw.rectangle(box, outline=outline, width=width)


def hills(draw, box, swing: float, shift: float, fill) -> None:
    """Fill a box (left, top, right, bottom) under a row of three hills that rise above its top."""
    left, top, right, bottom = box
    ridge = []
    for x in range(0, right - left + 1, 8):
        turn = x / (right - left) * math.pi * 3 + shift
        ridge.append((left + x, top - swing * abs(math.sin(turn))))
    draw.polygon([*ridge, (right, bottom), (left, bottom)], fill=fill)


def ribbon(draw, left: int, width: int, middle: float, swing: float, fill) -> None:
    """Fill a band that swings once over the width."""
    edge = []
    for x in range(0, width + 1, 8):
        edge.append((left + x, middle + swing * math.sin(x / width * 2 * math.pi + 0.6)))
    lower = [(x, y + 70 + 25 * math.sin(i / 12)) for i, (x, y) in enumerate(edge)]
    draw.polygon(edge + lower[::-1], fill=fill)


def shaded(image: Image.Image, top, bottom) -> None:
    """Fill with a run from one colour to another."""
    draw = ImageDraw.Draw(image)
    for y in range(image.height):
        share = y / image.height
        mixed = tuple(round(a + (b - a) * share) for a, b in zip(top, bottom, strict=True))
        draw.line([(0, y), (image.width, y)], fill=mixed)
