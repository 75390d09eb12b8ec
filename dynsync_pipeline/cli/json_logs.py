"""Log lines as JSON, one object a line, for `dynsync --json-logs`. Not here: what is logged, which holds nobody's values."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

_OWN = frozenset(vars(logging.makeLogRecord({})))  # what each record has, beside what a line adds of its own


class JsonLines(logging.Formatter):
    """`at` (UTC), `level`, `logger`, `message`, then what the line adds, such as request and seconds."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        told = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        added = {name: value for name, value in vars(record).items() if name not in _OWN}
        trace = {"trace": self.formatException(record.exc_info)} if record.exc_info else {}
        return json.dumps(told | added | trace, default=str, ensure_ascii=False)


def log_as_json() -> None:
    """Let every line of this process, whoever logs it, be one JSON object on the standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.basicConfig(handlers=[handler], force=True)
