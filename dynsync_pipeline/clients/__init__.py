"""HTTP only: transport, and one client per system.

Not here: what the answers mean for the sync (`extract/`, `write_back/`).
"""
