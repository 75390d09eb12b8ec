"""`make deep MINUTES=n`: what `make test` leaves out or samples is tried once, however long that takes, and then the property
tests go round after round for n minutes, each with another random seed; none begins when these are up.

Prints what pytest does, at the end what was found with the seed that finds it again, and the share of examples with collisions.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).parent
# Tests of kills and cuts, which `make test` samples.
SAMPLED = [
    FOLDER.parent / name
    for name in (
        "faults/test_kills.py",
        "accounts/test_fan_out.py",
        "reconcile/test_changed_map.py",
        "reconcile/test_killed_consents.py",
        "requests/test_cut_serving.py",
        "operate/test_restore.py",
        "defs/test_postgres.py",
    )
]
TOLD = re.compile(r"Collisions in (\d+) of (\d+) examples\.")
TALLIED: Counter[str] = Counter()  # over all rounds, as `effort.py` counts in one


def main(minutes: float) -> int:
    """Try what is left out and sampled otherwise, then begin rounds for so many minutes; 1 if any test failed."""
    found = [*_round([FOLDER.parent], "deep"), *_round(SAMPLED, "not deep")]
    ends_at, n_rounds = time.monotonic() + 60 * minutes, 0
    while time.monotonic() < ends_at:
        found += _round([FOLDER], "not deep")
        n_rounds += 1
    n_examples = TALLIED["examples"]
    share = f"{TALLIED['with collisions'] / n_examples:.0%}" if n_examples else "none"
    print(f"{n_rounds} rounds, {n_examples:,} examples, {share} of them with collisions.")
    print("\n".join(["Found:", *found]) if found else "Nothing was found.")
    return 1 if found else 0


def _round(tests: Sequence[Path], which: str) -> list[str]:
    """Run those of these tests that have the marks `which`, with a random seed; returns what failed, with the seed."""
    seed = random.SystemRandom().randrange(2**32)
    command = [sys.executable, "-m", "pytest", *map(str, tests), "-p", "no:xdist", "-p", "no:cacheprovider", "-rfE"]
    command += ["-m", which, "--timeout=0", "--hypothesis-profile=deep", f"--hypothesis-seed={seed}"]
    output = _shown(command)
    for collided, tried in TOLD.findall(output):
        TALLIED.update({"with collisions": int(collided), "examples": int(tried)})
    failed = [line for line in output.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return [f"--hypothesis-seed={seed} {line}" for line in failed]


def _shown(command: Sequence[str]) -> str:
    """What the command prints, which is printed as it comes: a round takes long, and who waits wants to see it go on."""
    shown = bytearray()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout
        while part := os.read(process.stdout.fileno(), 4096):
            os.write(sys.stdout.fileno(), part)
            shown += part
    return shown.decode()


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
