"""The vocabulary: record types, the field map, frozen records. Imports nothing of the package but errors."""
