"""What the statements of an SQL file read, make and change, found in their text; written apart from the headers they judge.

Not here: the headers themselves (`dynsync_pipeline/sql_files.py`).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from importlib.resources import files
from typing import NamedTuple

from dynsync_pipeline.look.whatif import DECIDING, NOW, OTHERWISE
from dynsync_pipeline.look.whatif import TELLING as TELLING_OTHERWISE
from dynsync_pipeline.operate.restore import PUTTING_BACK
from dynsync_pipeline.reconcile.audit import STEPS as AUDIT
from dynsync_pipeline.reconcile.parity import STEPS as PARITY
from dynsync_pipeline.reconcile.plan import RESTING
from dynsync_pipeline.reconcile.plan import STEPS as PLAN
from dynsync_pipeline.requests.on_records import WISHING
from dynsync_pipeline.requests.serving import JUDGING, KEYING, KNOWING, LINKING, SENDING
from dynsync_pipeline.requests.telling import TELLING
from dynsync_pipeline.sql_files import SqlFile
from dynsync_pipeline.write_back.receipts import RECOGNISING, SETTLING

SCHEMAS = "inbox|mirror|state|reconcile|ledger"


class Chain(NamedTuple):
    """SQL files that run one after another on one connection; `given` are the temporary relations they find there."""

    title: str
    does: str
    steps: tuple[str, ...]
    given: tuple[str, ...] = ()


CHAINS = (
    Chain(
        "On every connection",
        "The macros and the codes that the files below use.",
        ("warehouse/macros", "warehouse/codes"),
    ),
    Chain(
        "The plan",
        "Step 2 of a cycle, `reconcile`: from what was seen to what is to be written. One transaction.",
        PLAN,
        ("this_cycle",),
    ),
    Chain(
        "Parity",
        "Before a plan in shadow: what the native sync wrote, decided again by the rules. In the transaction of the plan.",
        PARITY,
        ("this_cycle", "native_sync", "native_users", "differing_fields", "overwritten_fields"),
    ),
    Chain("A plan in shadow", "After the plan, where nobody sends it.", RESTING),
    Chain(
        "Settling receipts",
        "The end of step 3, `write_back`: what a system answered becomes link, base and ledger. One transaction.",
        SETTLING,
    ),
    Chain(
        "After a cut",
        "Before a cycle begins: which operations without a receipt were ours.",
        RECOGNISING,
        ("this_moment",),
    ),
    Chain("The daily audit", "All links compared in full, as a proof that cycles miss nothing.", AUDIT),
    Chain(
        "What stands now",
        "The first half of `dynsync whatif`: what comes of all that differs now, by the rules that count.",
        (*NOW, *DECIDING),
        ("overwritten_fields", "this_cycle"),
    ),
    Chain(
        "What another rule would do",
        "The second half: past collisions, and the same differences, by the rules that are tried.",
        (*OTHERWISE, *DECIDING, *TELLING_OTHERWISE),
        ("tried_rules", "tried_since", "fields_now", "outcomes_now", "this_cycle"),
    ),
    *(
        Chain(
            f"Offence: {name}", "An asset check, on the keys that the cycle touched.", (f"reconcile/offences/{name}",)
        )
        for name in ("doubled_links", "lost_writes", "unsettled_without_reason", "untold_changes")
    ),
    Chain(
        "Serving requests",
        "In a cycle, or between two: what becomes of people who are to become records (R71). Judging, sending, linking and "
        "telling are a transaction each.",
        (*KNOWING, *JUDGING, *SENDING, *LINKING, *KEYING, *TELLING),
        ("pending_requests", "requesting_people", "sent_requests", "made_records", "this_serving", "ended_requests"),
    ),
    Chain(
        "What is asked for a record",
        "Which records are to get another owner, or a task.",
        WISHING,
        ("wished_requests",),
    ),
    Chain(
        "Putting a backup back",
        "What `dynsync restore` makes of the working file of a backup. One transaction.",
        PUTTING_BACK,
        ("putting_back", "later_tombstones", "later_changes"),
    ),
    Chain(
        "Proposing an adoption",
        "What `dynsync adopt` writes into its file.",
        ("reconcile/proposed_pairs",),
        ("people_shown", "records_shown", "held_ids"),
    ),
    Chain(
        "Checking an adoption",
        "What `dynsync adopt --apply` holds the reviewed file against.",
        ("reconcile/adoption_faults",),
        ("reviewed",),
    ),
)


def all_steps() -> set[str]:
    """Every SQL file in the package that is a step, as `room/name`; migrations are none."""
    root = files("dynsync_pipeline")
    found = set()
    for room in root.iterdir():
        folders = [(room.joinpath("sql"), f"{room.name}/")]
        for folder, prefix in folders:
            if not folder.is_dir():
                continue
            for entry in folder.iterdir():
                if entry.is_dir():
                    folders.append((entry, f"{prefix}{entry.name}/"))
                elif entry.name.endswith(".sql"):
                    found.add(prefix + entry.name.removesuffix(".sql"))
    return found


# Of what macros show the rows of a few links.
OF_FEW = {
    "links_of": {"state.links"},
    "links_to": {"state.links"},
    "base_values_of": {"state.base_values"},
    "dynamics_records_of": {"state.dynamics_records"},
    "marketo_values_of": {"state.marketo_values"},
    "met_values_of": {"state.dynamics_records", "state.marketo_values"},
    "marketo_people_of": {"mirror.marketo_people"},
    "person_records_of": {"mirror.person_records"},
    "sync_filters_of": {"mirror.sync_filters"},
}


class Relations(NamedTuple):
    """Names of tables and views: permanent ones with their schema, temporary ones without."""

    reads: set[str]
    makes: set[str]
    changes: set[str]


def relations(file: SqlFile, temporary: Collection[str]) -> Relations:
    """What the statements of `file` do; `temporary` are the temporary relations that there are, of all chains."""
    text = re.sub(r"--[^\n]*", "", file.text)
    called = set(re.findall(rf"({'|'.join(OF_FEW)}|long_of|side_by_side)\('([\w.]+)'\)", text))
    longed = {given for _, given in called}.union(*(OF_FEW.get(macro, ()) for macro, _ in called))
    text = re.sub(r"'(?:[^']|'')*'", "''", text)
    made = set(re.findall(r"create (?:or replace )?temp (?:table|view) (\w+)", text))
    changed = set(re.findall(rf"(?:insert into|delete from|update)\s+(?:({SCHEMAS})\.(\w+))", text))
    text = re.sub(r"(?:insert into|delete from|update|create temp table)\s+\S+", " ", text)
    ctes = set(re.findall(r"(?:with|,)\s+(\w+) as \(", text))
    name = rf"(?:(?:{SCHEMAS})\.)?\w+"
    named = set(re.findall(rf"(?:\bfrom|\bjoin|\busing|,)\s*({name})\b(?!\s*[.(])", text)) | longed
    local = {word for word in named if word in temporary and word not in ctes}
    permanent = {word for word in named if re.match(rf"(?:{SCHEMAS})\.", word)}
    return Relations(local - made | permanent, made, {f"{schema}.{table}" for schema, table in changed})
