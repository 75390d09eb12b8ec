"""Which of the fields that were asked for a system refuses, where its answer names none (R107). No I/O of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dynsync_pipeline.errors import ColumnUnknown, RequestRefused


def told_of_field(
    error: RequestRefused, names: Sequence[str], ask_for: Callable[[Sequence[str]], object]
) -> RequestRefused:
    """The refusal of a request for these fields as a `ColumnUnknown` that names one, if a field is at fault.

    Where the answer names none it is found by asking for fewer, a dozen calls at most: `ask_for` sends the request for some of
    them, and raises RequestRefused as the first one did. The error itself where fewer fields do not help.
    """
    field = error.field if error.field in names else _field_at_fault(names, ask_for)
    if field is None:
        return error
    return ColumnUnknown(
        error.message,
        system=error.system,
        request=error.request,
        code=error.code,
        status=error.status,
        field=field,
        next_step=error.next_step,
    )


def _field_at_fault(names: Sequence[str], ask_for: Callable[[Sequence[str]], object]) -> str | None:
    """One of these that is refused alone, while others are taken; None if there is none."""

    def is_taken(some: Sequence[str]) -> bool:
        try:
            ask_for(some)
        except RequestRefused:
            return False
        return True

    suspects, is_any_taken = list(names), False
    while len(suspects) > 1:
        half = suspects[: len(suspects) // 2]
        if is_taken(half):
            suspects, is_any_taken = suspects[len(half) :], True
        else:
            suspects = half
    if not suspects or is_taken(suspects):
        return None
    others = [name for name in names if name not in suspects]
    is_any_taken = is_any_taken or any(is_taken([name]) for name in dict.fromkeys(others[::-1][:3]))
    return suspects[0] if is_any_taken else None
