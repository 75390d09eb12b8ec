"""The Marketo REST and bulk APIs: auth, protocol (bytes in, page or named error out), client."""

from dynsync_pipeline.clients.marketo.client import MarketoClient
from dynsync_pipeline.clients.marketo.protocol import (
    Activity,
    CompanyResult,
    DeletedPerson,
    ExportStatus,
    FeedPage,
    FeedStart,
    FieldChange,
    MarketoField,
    PersonResult,
)

__all__ = [
    "Activity",
    "CompanyResult",
    "DeletedPerson",
    "ExportStatus",
    "FeedPage",
    "FeedStart",
    "FieldChange",
    "MarketoClient",
    "MarketoField",
    "PersonResult",
]
