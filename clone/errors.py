"""What can go wrong, and the way out.

    CloneError               message, hint, exit code
    ├── RecipeError          a setting is wrong, or names nothing                       (2)
    ├── SourceError          a file or an account cannot be read                        (1)
    │   └── LoginError       Telegram wants something of the person, or cannot be had   (6)
    ├── DataError            what a stage made is damaged or of another version         (1)
    │   ├── StageMissing     the stage before has not been run                          (4)
    │   ├── StaleData        what it left is older than its source                      (4)
    │   └── GateFailed       a quality or privacy gate did not hold                     (3)
    ├── ModelError           a base, an adapter or a run cannot be used                 (1)
    │   ├── HubError         the hub cannot be reached or refuses                       (6)
    │   └── HardwareError    no such device, or out of memory                           (5)
    │       └── ProcessLost  another process of a run on several devices is gone        (5)
    └── MissingExtra         a library of an extra is not installed                     (1)

Anything else that is raised is our own bug, and its traceback is shown.
"""

from __future__ import annotations


class CloneError(Exception):
    """A failure that a person can do something about: what is wrong and where, and the next thing to type.

    Neither `message` nor `hint` may hold what people wrote to each other.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class RecipeError(CloneError):
    exit_code = 2


class SourceError(CloneError):
    pass


class LoginError(SourceError):
    exit_code = 6


class DataError(CloneError):
    pass


class StageMissing(DataError):
    exit_code = 4


class StaleData(DataError):
    exit_code = 4


class GateFailed(DataError):
    exit_code = 3


class ModelError(CloneError):
    pass


class HubError(ModelError):
    exit_code = 6


class HardwareError(ModelError):
    exit_code = 5


class ProcessLost(HardwareError):
    """Another process of the run is gone. Threads that exchanged with it never end, so this process must not wait."""


class MissingExtra(CloneError):
    """A library that belongs to an optional extra is not installed."""

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(f"{library} is not installed.", f'pip install "clone[{extra}]"')
