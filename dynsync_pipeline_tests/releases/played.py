"""What befell the two systems before a version's working file was stored; the world that an upgrade goes on in.

Run by hand when a version is released (CONTRIBUTING.md#release). It uses what the worlds in memory have had since the first
stored version, so that an older version can play it too.
"""

from __future__ import annotations

import lzma
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import duckdb

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map

FOLDER = Path(__file__).parent
FIELDS = field_map(
    "title,jobtitle,text,both,true",
    "phone,telephone1,text,both,true",
    "doNotCall,donotphone,boolean,both,true",
    "rating,new_rating,choice,both,true",
    "source,new_source,text,to_marketo,true",
)
CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD


def play(world: Any, sync: Any) -> None:
    """Let people do things; `sync` is called where cycles have their turn, until nothing is written any more."""
    for number in range(4):
        world.link(CONTACT, f"c{number}", title="Buyer", phone="1", rating="1", source="Web")
    for number in range(3):
        world.link(LEAD, f"l{number}", title="Buyer", doNotCall="true")
    sync()
    world.marketo.keeps = lambda name, value: "As kept" if value == "Sent" else value
    world.dynamics.put(CONTACT, "c0", jobtitle="Sent")  # stands as a difference
    world.dynamics.put(CONTACT, "c1", jobtitle="Head")  # a collision
    world.marketo.put(1002, title="Chief")
    world.dynamics.delete(CONTACT, "c2")
    world.marketo.delete(1007)  # the person of l2
    world.dynamics.put(CONTACT, "c3", new_rating="3", jobtitle=None)
    world.marketo.put(1003, source="Local")
    world.dynamics.put(CONTACT, "new", jobtitle="O'Brien 🦊")
    sync()


def main(name: str) -> None:
    """Store the working file of this version as `NAME.duckdb.xz`."""
    world = MemoryWorld(FIELDS, publishes=True)
    play(world, world.settled)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "dynsync.duckdb"
        world.rows(f"attach '{file}' as stored")
        world.rows("copy from database memory to stored")
        world.rows("detach stored")
        with duckdb.connect(file) as stored:
            stored.execute("checkpoint")
        with file.open("rb") as plain, lzma.open(FOLDER / f"{name}.duckdb.xz", "wb") as packed:
            shutil.copyfileobj(plain, packed)


if __name__ == "__main__":
    main(sys.argv[1])
