"""What the demo page says of a look, as Markdown."""

from __future__ import annotations

from edge.values import Decision, Prediction
from trainer.page_eye import Look, Span

# From which quality on. Of the masks that `tiny` draws well enough on photos of items on a light
# ground, 5 of 100 are under 0.57 and 10 under 0.70; half are above 0.86.
QUALITIES = ((0.8, "clear"), (0.6, "fair"), (0.0, "just good enough"))


def verdict_text(decision: Decision) -> str:
    """Outcome and reason."""
    tail = "" if decision.outcome == "sorted" else " It goes the safe way."
    return f"### {decision.outcome}\n{decision.reason}.{tail}"


def item_title(look: Look) -> str:
    """What the picture of the segmentation shows."""
    if look.crop.mask is not None:
        return f"#### Segmentation by {look.segmenter}"
    return "#### Segmentation: none good enough"


def item_text(look: Look) -> str:
    """How good the mask is, or why there is none and what was judged instead."""
    if look.segmenter == "none":
        return segmenter_text("none")
    if look.crop.mask is None:
        return f"**Not cut out.** {look.crop.note}."
    x0, y0, x1, y1 = look.crop.box_xyxy
    return (
        f"**Cut out.** The mask is {quality_word(look.crop.quality)} (quality "
        f"{look.crop.quality:.2f} of 1); the item covers {look.covered:.0%} of the frame, "
        f"its box is {x1 - x0} × {y1 - y0} px."
    )


def segmenter_text(name: str) -> str:
    """What will be done with a picture, before there is one."""
    if name == "none":
        return "**Segmentation:** off (`--segment none`). The whole frame is judged."
    return f"**Segmentation:** {name}. The cut-out is judged beside the whole frame."


def quality_word(quality: float) -> str:
    """A mask's quality, 0..1, in words; what is poor never gets here."""
    return next(word for least, word in QUALITIES if quality >= least)


def looks_text(look: Look) -> str:
    """What each look said and how much it counts, and what they say together; a table."""
    joint = look.glance.prediction
    rows = [("whole frame", joint, 1.0)]
    if joint.parts:
        cut, whole = joint.parts
        share = look.crop.share
        rows = [("whole frame", whole, 1 - share), ("cut-out", cut, share)]
    lines = [f"| {name} | {_best_of(one, look)} | {share:.0%} |" for name, one, share in rows]
    if joint.parts:
        lines.append(f"| **together** | **{_best_of(joint, look)}** | |")
    return "\n".join(["| look | says | counts |", "|:--|:--|--:|", *lines])


def _best_of(prediction: Prediction, look: Look) -> str:
    best = int(prediction.probs.argmax())
    label = look.labels[best].replace("|", "\\|")  # a class is a folder, of whatever name
    return f"{label} {prediction.probs[best]:.1%}"


def time_text(look: Look) -> str:
    """Milliseconds, and of what; a line for each step."""
    seen = "both looks" if look.crop.beside is not None else "the whole frame"
    lines = [f"**{look.judging.ms:.1f} ms** to judge {seen} ({_middle(look.judging)})"]
    if look.segmenter != "none":
        lines.insert(0, f"**{look.cutting.ms:.1f} ms** to cut out ({_middle(look.cutting)})")
    lines.append("On one thread of this machine; to judge is to crop, resize and run the network.")
    return "  \n".join(lines)


def _middle(span: Span) -> str:
    return f"the middle one of {span.calls} calls" if span.calls > 1 else "one call"


def map_title(look: Look) -> str:
    """What the map shows, or why there is none."""
    if look.map_rgb is None:
        return "#### Evidence map: none, as the network does not end in pooling and a linear layer"
    where = "whole frame"
    if look.crop.mask is not None and (look.crop.beside is None or look.crop.share >= 0.5):
        where = "cut-out"
    return f"#### Evidence for {look.decision.label}, in the {where}"
