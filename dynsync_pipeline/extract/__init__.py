"""Step 1, systems -> inbox and mirrors. Next step downstream: `reconcile`."""
