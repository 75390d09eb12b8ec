"""How often Python looks for objects of no use any more. Not here: who wants it less often (`cli/`, `definitions.py`)."""

import gc

# Objects made and not freed before the youngest are looked at. With Python's own 700 a process that imports our libraries does
# so several hundred times, and looks at everything five times, which finds next to nothing.
_BEFORE_COLLECTING = 50_000


def collect_rarely() -> None:
    """Collect after 50,000 new objects and not after 700, in this process, for good.

    Collecting is not off: what is of no use and refers to itself waits for longer, some ten megabytes of it. So a process that
    lives for months may do so as well.
    """
    gc.set_threshold(_BEFORE_COLLECTING)
