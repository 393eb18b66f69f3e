"""A fleet of bins without hardware: what `smartbin simulate` runs against a real broker."""
