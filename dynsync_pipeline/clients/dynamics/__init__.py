"""The Dataverse Web API: auth, protocol (bytes in, page or named error out), client."""

from dynsync_pipeline.clients.dynamics.client import DynamicsClient
from dynsync_pipeline.clients.dynamics.protocol import (
    ChangesPage,
    Column,
    ColumnMetadata,
    RecordWrite,
    TableMetadata,
    WriteResult,
)

__all__ = [
    "ChangesPage",
    "Column",
    "ColumnMetadata",
    "DynamicsClient",
    "RecordWrite",
    "TableMetadata",
    "WriteResult",
]
