"""The vocabulary: record types, the field map, the sync's own fields. Imports nothing of the package but errors."""
