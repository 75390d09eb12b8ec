"""What stands in the way of `emulate`, `demo` and `dev`, as a sentence: the emulators are an extra that may be absent.

Such a command imports the emulators inside `emulating`, so that all others run without them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from dynsync_pipeline.emulators.errors import PortUnusable, StateUnusable
from dynsync_pipeline.errors import ExtraMissing, PortTaken, StorageFailed

LIBRARIES = ("faker", "odata_query", "python_multipart", "trustme")  # what the extra `emulators` installs


@contextmanager
def emulating() -> Iterator[None]:
    """Around the import, the start and the use of the emulators.

    Raises: ExtraMissing when a library of theirs is absent; StorageFailed when their state folder cannot be used;
    PortTaken when a port that was asked for is.
    """
    try:
        for library in LIBRARIES:
            import_module(library)
    except ModuleNotFoundError as error:
        raise ExtraMissing(
            f"The emulators are not installed: there is no {error.name}.",
            next_step="Run `pip install 'dynsync-pipeline[emulators]'`; syncing real systems needs none of it.",
        ) from None
    try:
        yield
    except StateUnusable as error:
        raise StorageFailed(str(error)) from None
    except PortUnusable as error:
        raise PortTaken(str(error), next_step="End the program that uses the port, or name another one.") from None
