"""`make deep MINUTES=n`: what `make test` leaves out or samples is tried once, and then the property tests go round after
round, each with another random seed; none begins when the time is up.

Prints what was found with the seed that finds it again, and the share of examples with collisions.
"""

from __future__ import annotations

import random
import re
import subprocess
import sys
import time
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


def main(minutes: float) -> int:
    """Try what is left out and sampled otherwise, and begin rounds for so many minutes; 1 if any test failed."""
    ends_at = time.monotonic() + 60 * minutes
    n_collisions = n_examples = n_rounds = 0
    found: list[str] = []
    tests, which = [FOLDER.parent], "deep"
    while time.monotonic() < ends_at:
        seed = random.SystemRandom().randrange(2**32)
        output = _round(tests, which, seed)
        n_rounds += 1
        tests, which = [FOLDER] if which == "not deep" else [*SAMPLED, FOLDER], "not deep"
        for collided, tried in TOLD.findall(output):
            n_collisions += int(collided)
            n_examples += int(tried)
        failed = [line for line in output.splitlines() if line.startswith(("FAILED", "ERROR"))]
        if failed:
            print(output)
            found += [f"--hypothesis-seed={seed} {line}" for line in failed]
    share = f"{n_collisions / n_examples:.0%}" if n_examples else "none"
    print(f"{n_rounds} rounds, {n_examples:,} examples, {share} of them with collisions.")
    print("\n".join(["Found:", *found]) if found else "Nothing was found.")
    return 1 if found else 0


def _round(tests: Sequence[Path], which: str, seed: int) -> str:
    """What one run of those of these tests prints that have the marks `which`."""
    command = [sys.executable, "-m", "pytest", *map(str, tests), "-p", "no:xdist", "-p", "no:cacheprovider", "-rfE"]
    command += ["-m", which, "--timeout=0", "--hypothesis-profile=deep", f"--hypothesis-seed={seed}"]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
