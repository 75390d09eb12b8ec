"""A local Marketo: the REST and bulk APIs over one SQLite file. `app.py` is the way in and lists its parts.

Section numbers in docstrings (§4, §9.11) are those of the Marketo protocol sheet the emulator follows.
"""
