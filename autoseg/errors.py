"""The errors autoseg raises on purpose. Their texts are for the user and are shown as they stand.

AutosegError
├── DatasetError            images and masks that cannot be used
│   └── AmbiguousMasksError     masks that can be read in more than one way: the user must say
├── ConfigError             an argument or a configuration file
│   ├── BudgetError             too little time for what was asked
│   └── UnknownFieldError       a record with a field that this version does not have
├── EncoderError            an encoder that is unknown, has no weights here, or may not be used
├── TrainingError           a trial that cannot go on (not a number, out of memory at the smallest)
├── RunError                a run's folder
│   ├── RunLockedError          another process uses it
│   ├── RunVersionError         written by another version of autoseg
│   ├── StoppedEarlyError       stopped before there was anything to keep
│   └── PausedError             left at once because somebody asked; it goes on later
├── BundleError             a model's folder
├── DiskFullError           a disk of this computer that takes no more
├── LicenceError            what a licence of weights or data forbids
├── HubError                what the Hub refuses or cannot do
│   ├── HubAccessError          no token, a wrong one, or one without the right
│   ├── HubNotFoundError        a repository, revision or file that is not there
│   └── HubUnreachableError     no answer: network, a failing server, offline mode
└── PredictionError         an image that cannot be predicted
"""

from collections.abc import Sequence
from dataclasses import dataclass


class AutosegError(Exception):
    """Base of all errors for the user, who sees the text and no traceback."""


class DatasetError(AutosegError):
    """Images and masks that cannot be used, with the file and the way out."""


@dataclass(frozen=True)
class FoundValue:
    """A raw value of the masks whose meaning is not known."""

    raw: str
    """The value ("255") or the colour ("#ff0000")."""
    share: float
    """Share of all pixels, in [0, 1]."""
    images: int
    """Number of images that have it."""
    example: str
    """Name of the sample that has the most of it."""


class AmbiguousMasksError(DatasetError):
    """Masks that can be read in more than one way; the text names the choices."""

    def __init__(self, message: str, found: Sequence[FoundValue] = ()) -> None:
        super().__init__(message)
        self.found = tuple(found)
        """What to give a class, most frequent first."""

    @property
    def values(self) -> tuple[str, ...]:
        """Raw values or colours to give a class, most frequent first."""
        return tuple(value.raw for value in self.found)


class ConfigError(AutosegError):
    """An argument or a configuration file that does not hold."""


class BudgetError(ConfigError):
    """A time budget too small for what was asked."""


class UnknownFieldError(ConfigError):
    """A record with a field that this version of autoseg does not have."""


class EncoderError(AutosegError):
    """An encoder that is unknown, whose weights cannot be had, or whose licence forbids it."""


class TrainingError(AutosegError):
    """A trial that cannot go on."""


class RunError(AutosegError):
    """A run's folder that cannot be used."""


class RunLockedError(RunError):
    """The run is in use by another process: a search, or a model being made of it."""


class RunVersionError(RunError):
    """The run was written in a format that this version does not read."""


class StoppedEarlyError(RunError):
    """The search was stopped before anything was trained."""


class PausedError(RunError):
    """The search was asked to leave at once and to go on later."""


class BundleError(AutosegError):
    """A model's folder that cannot be loaded or written."""


class DiskFullError(AutosegError):
    """A disk of this computer that takes no more, with the folder that lies on it."""


class LicenceError(AutosegError):
    """What a licence of weights or data forbids."""


class HubError(AutosegError):
    """What the Hub refuses or cannot do; the text never holds a token."""


class HubAccessError(HubError):
    """No token, a wrong one, or one without the right to do this."""


class HubNotFoundError(HubError):
    """A repository, revision or file that is not there."""


class HubUnreachableError(HubError):
    """The Hub gives no answer: no network, a failing server, or offline mode."""


class PredictionError(AutosegError):
    """An image that cannot be predicted."""
