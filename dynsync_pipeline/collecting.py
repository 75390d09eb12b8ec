"""How often Python looks for objects of no use any more. Not here: who wants it less often (`cli/`, `definitions.py`)."""

import atexit
import gc
import sys

# Objects made and not freed before the youngest are looked at. With Python's own 700 a process that imports our libraries does
# so several hundred times, and looks at everything five times, which finds next to nothing; a cycle without changes makes some
# 130,000 that stay.
_BEFORE_COLLECTING = 200_000


def collect_rarely() -> None:
    """Collect after 200,000 new objects and not after 700, in this process, for good; and, where DuckDB was not imported, not
    once more when it ends.

    Collecting is not off: what is of no use and refers to itself waits for longer, some twenty megabytes of such objects and
    what they hold. So a process that lives for months may do so as well.
    """
    gc.set_threshold(_BEFORE_COLLECTING)
    atexit.register(_spare_the_last)


def _spare_the_last() -> None:
    """Let the end of the process look at nothing. With DuckDB it has to: what its binding finds uncollected, it complains of."""
    if "duckdb" not in sys.modules:
        gc.freeze()
