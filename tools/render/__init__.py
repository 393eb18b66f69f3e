"""Render waste items on surfaces with Blender, for the sample frames and for data sets."""
