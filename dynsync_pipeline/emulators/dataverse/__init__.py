"""An emulator of the Dataverse Web API v9.2, as far as docs/protocols/dataverse.md describes it.

Start at `app.py`. What it leaves out is listed in `emulators/README.md`.
"""
