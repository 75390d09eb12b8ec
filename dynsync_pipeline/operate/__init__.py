"""Keeping an installation for years: backing up, restoring, forgetting. Not here: syncing (`cycle.py`), looking (`look/`)."""
