"""What can be wrong with an update: one sentence each, and the running model stays."""

from edge.errors import SmartbinError


class UpdateError(SmartbinError):
    """An update that was refused or could not be made; `lasting` where trying again is no use."""

    def __init__(self, sentence: str, *, lasting: bool = False) -> None:
        super().__init__(sentence)
        self.lasting = lasting
