"""smartbin's daemon for the device: camera frames in, class decisions over MQTT out."""

import os

__version__ = "0.1.0"

# Both libraries read their environment once, at their first import, so it is set before any.
# onnxruntime's wheels would send usage reports to their maker; a bin talks to its broker alone.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# OpenCV decodes up to 2^30 pixels, 3 GB; 100 megapixels are more than any camera of a bin gives.
MAX_PICTURE_PX = 100_000_000
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PICTURE_PX))
