"""Every error a user may meet: one sentence that says where, what, what is allowed, what to do."""


class SmartbinError(Exception):
    """A fault that a person can act on; its text is printed as it is, without a traceback."""

    exit_code = 1


class ConfigError(SmartbinError):
    """All faults of one configuration together; `faults` holds a sentence for each."""

    exit_code = 2

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class UsageError(SmartbinError):
    """The command line asks for something that does not exist."""

    exit_code = 2


class PictureError(SmartbinError):
    """A picture file that cannot be read whole."""


class BundleError(SmartbinError):
    """A model bundle that is missing, damaged, or disagrees with itself."""


class TrayError(SmartbinError):
    """A stored empty tray that cannot be read, written, or learned."""


class CameraError(SmartbinError):
    """A camera that is absent, refuses its settings, or went away."""


class OutboxError(SmartbinError):
    """The disk outbox cannot store an event."""


class MissingExtraError(SmartbinError):
    """An optional package is needed for what was asked and is not installed."""
