"""Step 4, what people read: the snapshot. Nothing reads back from here."""
