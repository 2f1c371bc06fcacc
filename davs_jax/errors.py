"""The one tree of errors: whatever is wrong with what davs_jax was given, or with where it runs, is a DavsError.

Kinds that only one package raises are defined in that package. A front end (command line, page, Python) catches
`DavsError` and shows it; whoever leaves something out of a report catches `NotMeasurable` and nothing else.
"""


class DavsError(Exception):
    """An error of the user's inputs, files or machine, in one sentence.

    Args:
      reason: what is wrong, with the file and the value.
      remedy: what to do about it, in words that suit every front end; "" where the reason says it.
      options: by front end (`command_line`, `page`, `python`), a remedy in its own terms where the common one does not
        fit: flags, controls or arguments.
    """

    front_end = "command_line"  # whose terms str() uses; the Python API sets its own

    def __init__(self, reason: str, remedy: str = "", **options: str):
        super().__init__(reason)
        self.reason, self.remedy, self.options = reason, remedy, options

    def __str__(self) -> str:
        return self.told(self.front_end)

    def told(self, front_end: str) -> str:
        """The sentence for one front end: reason; remedy."""
        remedy = self.options.get(front_end, self.remedy)
        return f"{self.reason}; {remedy}" if remedy else self.reason


class NotMeasurable(DavsError):
    """A figure that this model or corpus does not allow; a report leaves it out and says why."""


class ConfigError(DavsError):
    """An invalid config value; the message names it and what is allowed."""


class DataError(DavsError):
    """A folder, record or label from which no batch can be made."""


class CheckpointError(DavsError):
    """A checkpoint that is missing, damaged, does not fit or cannot be written."""


class MediaError(DavsError):
    """A video or audio file that cannot be read or written."""


def first_line(error: object, longest: int = 200) -> str:
    """The first line of what another library says, or the name of its error where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:longest]
