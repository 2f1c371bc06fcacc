"""How a figure of an evaluation is shown in comparisons, and how report.json stores it: a note on the field's type."""

import functools
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints


class Shown(NamedTuple):
    """How a field is shown in comparisons, and how report.json stores it.

    Attributes:
      label: its name in comparisons, "" to add nothing to the name of what holds it; by default the field's own.
      share: shown in percent, as is everything in it.
      bounds: the fields with the ends of its 95 % interval.
      only: the fields of its value that are compared; all by default.
      compared: False for the ends of an interval, and for what is too long for a comparison.
      beside: report.json holds the entries of this dictionary beside the other fields.
      key: its key in report.json, where it is not its name: that of the first reports, which stay readable.
    """

    label: str | None = None
    share: bool = False
    bounds: tuple[str, str] | None = None
    only: tuple[str, ...] | None = None
    compared: bool = True
    beside: bool = False
    key: str = ""


HIDDEN, BESIDE = Shown(compared=False), Shown("", beside=True)


@functools.cache
def described(kind: type) -> dict[str, tuple[Any, Shown]]:
    """By field of a section, its type and how it is shown."""
    hints = get_type_hints(kind, include_extras=True)
    pairs = {name: get_args(hint) if get_origin(hint) is Annotated else (hint,) for name, hint in hints.items()}
    return {name: (pair[0], pair[1] if len(pair) > 1 else Shown()) for name, pair in pairs.items()}
