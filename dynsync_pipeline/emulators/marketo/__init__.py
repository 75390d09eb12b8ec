"""A local Marketo: the REST and bulk APIs over one SQLite file. `app.py` is the way in and lists its parts.

Each part names the sections of docs/protocols/marketo.md that it follows.
"""
