"""What goes wrong: every error has a stable code and a sentence that says what to do."""


class Notice(UserWarning):
    """What a person must know although the work goes on; the command line prints it once."""


class ForensicsError(Exception):
    """An analysis that could not be done.

    Attributes:
        code: stable upper-case name, shown as ``ERROR/<code>``; never a verdict of "clean".
    """

    def __init__(self, code: str, message: str):
        super().__init__(f"ERROR/{code}: {message}")
        self.code = code


class InputError(ForensicsError, ValueError):
    """What was given cannot be used."""


class LoraFormatError(InputError):
    """The adapter is malformed, unsupported, ambiguous, or does not fit the base."""


class UnsafeFileError(InputError):
    """A file format that can run code, or a file made to exhaust the reader."""


class ProvenanceError(InputError):
    """Things of different origin were mixed, such as two encoders' embeddings."""


class NotEnoughDataError(InputError):
    """Too little data for the question; the message says how much is needed."""


class MissingDependencyError(ForensicsError, ImportError):
    """An optional package is missing; the message names the extra that brings it."""


class MissingWeightsError(ForensicsError, FileNotFoundError):
    """Weights that the user must bring; the message names file, SHA-256, licence and folder."""


class RunError(ForensicsError, OSError):
    """The run directory cannot be written, is in use, or belongs to another configuration."""


def plural(count: int, one: str, many: str = "") -> str:
    """A count with its noun, for every sentence that counts something.

    >>> plural(0, "photo"), plural(1, "entry", "entries"), plural(1200, "entry", "entries")
    ('0 photos', '1 entry', '1,200 entries')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"
