"""smartbin's daemon for the device: camera frames in, class decisions over MQTT out."""

__version__ = "0.1.0"
