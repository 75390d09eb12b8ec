"""Step 4: the snapshot, made for people to read. No step reads it back; what commands ask of it is in `look/`."""
