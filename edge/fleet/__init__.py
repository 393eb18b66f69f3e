"""The fleet monitor: what hundreds of bins say, kept, judged and shown; no part of the daemon."""
