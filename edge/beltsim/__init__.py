"""A belt in simulation: rendered items, a camera, sensors and diverters around the real daemon."""
