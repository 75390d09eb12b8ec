"""Working files as earlier versions left them, each after the scenario of `played.py`; kept for the tests of upgrades."""
