"""Models over the air: signed bundles are fetched, checked, tried beside the old one, and swapped.

`store` holds what lies on the disk and survives a power cut at any point, `repository` is the
only importer of python-tuf, `checks` says whether a bundle may replace another, `shadow` compares
the two on real items, `updater` walks through these steps in a thread of its own, and `rollout`
decides whose turn it is.
"""
