"""Two looks at one frame, the item cut out and the whole frame, become one prediction.

Pure, and the only definition: the bin, `smartbin classify` and the trainer's figures fuse here.
"""

from __future__ import annotations

import numpy as np

from edge.values import Prediction

TINY = 1e-12  # under any probability that counts; keeps the logarithm finite


def fused(*, cut: Prediction, whole: Prediction, share: float) -> Prediction:
    """The mean of the logarithms, the cut-out's counting `share` (0..1); both looks are kept.

    A class must be likely in both looks: where one is sure that it is not, the other's guess
    counts less than in a mean of probabilities. Evidence is a number already: its mean is taken.
    """
    logs = share * _logs(cut) + (1 - share) * _logs(whole)
    powers = np.exp(logs - logs.max())
    probs = np.asarray(powers / powers.sum(), np.float32)
    evidence = None
    if cut.evidence is not None and whole.evidence is not None:
        evidence = share * cut.evidence + (1 - share) * whole.evidence
    return Prediction(probs, evidence, parts=(cut, whole))


def _logs(prediction: Prediction) -> np.ndarray:
    return np.log(np.maximum(np.asarray(prediction.probs, np.float64), TINY))
