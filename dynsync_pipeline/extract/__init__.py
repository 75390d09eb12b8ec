"""Step 1, systems -> inbox and mirrors: both are read before anything is decided (R10), in no order across types (R6).

Next step downstream: `reconcile`.
"""
