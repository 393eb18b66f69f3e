"""Segmenters: one contract, one module per kind; `build_segmenter` picks by the kind's name.

A kind's own needs (a network, a process of its own) are imported only when it is built.
"""

from __future__ import annotations

from pathlib import Path

from edge.errors import UsageError
from edge.segmenters.base import LEAST_QUALITY, Segmenter
from edge.segmenters.both import BothLooks
from edge.segmenters.whole import WholeFrame
from edge.shipped import default_segmenter
from edge.tray import TrayMemory

__all__ = ["JUDGE", "KINDS", "Segmenter", "WholeFrame", "build_segmenter"]

KINDS = ("none", "difference", "tiny", "rembg")
JUDGE = ("both", "cutout")  # what is judged where an item was cut out


def build_segmenter(
    kind: str,
    *,
    judge: str = "both",
    model: Path | None = None,
    session: str = "u2netp",
    threads: int = 1,
    least_quality: float = LEAST_QUALITY,
    timeout_s: float = 1.0,
    memory_mb: float = 700.0,
    tray: TrayMemory | None = None,
    patient: bool = False,
) -> Segmenter:
    """Make a segmenter, ready; what a kind does not use is passed over.

    `judge` says whether its cut-outs are judged with their whole frames or alone. `model` is the
    network of `tiny`, or of rembg's own sessions for custom networks; left out, the shipped one.
    `tray` is the empty tray that `difference` compares with. `patient` waits for rembg to start,
    where pictures come from files and no deadline runs. Raises BundleError for a network that is
    missing or damaged, MissingExtraError where rembg is not installed.
    """
    if judge not in JUDGE:
        raise UsageError(f"segmenter judge {judge!r}: allowed are {', '.join(JUDGE)}")
    made: Segmenter
    match kind:
        case "none":
            return WholeFrame()
        case "difference":
            from edge.segmenters.difference import DifferenceSegmenter

            made = DifferenceSegmenter(tray or TrayMemory(), least_quality=least_quality)
        case "tiny":
            from edge.segmenters.tiny import TinySegmenter, load_mask_net

            net = load_mask_net(model or default_segmenter())
            made = TinySegmenter(net, threads=threads, least_quality=least_quality)
        case "rembg":
            from edge.segmenters.rembg import RembgSegmenter

            made = RembgSegmenter(
                session=session,
                model=model,
                threads=threads,
                least_quality=least_quality,
                timeout_s=timeout_s,
                memory_mb=memory_mb,
                patient=patient,
            )
        case _:
            raise UsageError(f"segmenter {kind!r}: allowed are {', '.join(KINDS)}")
    return BothLooks(made) if judge == "both" else made
