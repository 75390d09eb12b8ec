"""Step 3, operations -> systems -> receipts -> mirror and base. Next step downstream: `publish`."""
