"""Logging to standard error, for the journal and for people."""

from __future__ import annotations

import logging
import os
import sys


def log_to_stderr(level: str) -> None:
    """Begin to log; `level` is one of debug, info, warning, error."""
    # The journal stamps the time itself.
    stamp = "" if "JOURNAL_STREAM" in os.environ else "%(asctime)s "
    logging.basicConfig(
        stream=sys.stderr,
        level=level.upper(),
        format=f"{stamp}%(levelname)s %(message)s",
    )
