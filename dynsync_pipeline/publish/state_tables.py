"""The published tables that tell where every person and record stands: links, base, what is not settled, and cursors.

`dynsync status` and `dynsync explain` read them. Not here: the records themselves (`tables.py`), ledgers
(`ledger_tables.py`).
"""

from __future__ import annotations

from dynsync_pipeline.model.field_map import FieldMap
from dynsync_pipeline.publish.table import OBSERVED_COLUMN, OBSERVED_FIELD, PublishedColumn, PublishedTable, plain, told
from dynsync_pipeline.warehouse.columns import quoted

PER_PERSON = (
    "links",
    "base",
    "standing_differences",
    "reviews",
)  # rewritten for the people whose published row is out of date
REWRITTEN = (
    "tombstones",
    "parked_fields",
    "back_fills",
    "cursors",
    "field_map",
    "options",
    "observed_fields",
)  # small: written again every time


def state_tables(fields: FieldMap) -> tuple[PublishedTable, ...]:
    """These tables for this field map."""
    return (_base(fields), *_STATE)


def _of_set_aside(what: str) -> str:
    """An expression over what a back-fill has set aside."""
    return (
        f"(select {what} from state.back_fill_windows w where w.message is not null "
        "and w.back_fill_id = back_fills.back_fill_id and w.record_type = back_fills.record_type)"
    )


def _base(fields: FieldMap) -> PublishedTable:
    return PublishedTable(
        name="base",
        grain="One row per link: the values that both sides last agreed on, as text.",
        source="state.base b",
        key="b.person_id",
        columns=(
            PublishedColumn("person_id_marketo", "bigint", "b.person_id", "Id of the person in Marketo. Key."),
            PublishedColumn(
                "fields_without_base",
                "varchar[]",
                "coalesce((select list(n.field order by n.field) from state.base_missing n "
                "where n.person_id = b.person_id), [])",
                "Fields that both sides never agreed on (R42); a null in any other column is an agreed null.",
            ),
            *(
                PublishedColumn(
                    name,
                    "varchar",
                    f"b.{quoted(name)}",
                    f"Last agreed value of the Marketo field {name}; options as their numbers.",
                )
                for name in fields.linked_fields
            ),
        ),
    )


_PERSON = ("person_id_marketo", "bigint", "person_id", "Id of the person in Marketo.")
_TYPE = ("record_type", "varchar", "record_type", "account, lead or contact.")
_FIELD = ("field", "varchar", "field", "REST name of the field in Marketo.")
_DYNAMICS_VALUE = ("dynamics_value", "varchar", "dynamics_value", "The value in Dynamics; an option's number.")
_MARKETO_VALUE = ("marketo_value", "varchar", "marketo_value", "The value in Marketo; an option as its number.")

_STATE = (
    PublishedTable(
        name="links",
        grain="One row per link: a Marketo person and its Dynamics lead or contact (R18).",
        source="state.links l",
        key="l.person_id",
        columns=plain(
            ("person_id_marketo", "bigint", "l.person_id", "Id of the person in Marketo. Key."),
            ("record_type", "varchar", "l.record_type", "lead or contact."),
            ("record_id_dynamics", "varchar", "l.dynamics_id", "Id of the lead or contact in Dynamics."),
            ("linked_at", "timestamp", "l.linked_at", "Linked at, UTC."),
        ),
    ),
    PublishedTable(
        name="observed_fields",
        grain="One row per column of either system whose moves are kept in observations, and from when on.",
        source="state.observed_fields o left join (select record_type, dynamics_column, any_value(field) as field "
        "from reconcile.fields group by all) f on f.record_type = o.object and f.dynamics_column = o.name",
        key="name",
        columns=plain(
            ("object", "varchar", "o.object", "account, contact, lead, person or company."),
            ("field", "varchar", OBSERVED_FIELD, "REST name of the field in Marketo; null: the column is not mapped."),
            ("dynamics_column", "varchar", OBSERVED_COLUMN, "Logical name of the column in Dynamics."),
            ("since", "timestamp", "o.since", "Moves since then are known, UTC."),
        ),
    ),
    PublishedTable(
        name="standing_differences",
        grain="One row per link and field: two unequal values accepted as settled, until either of them moves.",
        source=told("state.standing_differences", "reason_code"),
        key="person_id",
        columns=plain(
            _PERSON,
            _FIELD,
            _DYNAMICS_VALUE,
            _MARKETO_VALUE,
            ("reason_code", "varchar", "reason_code", "Why it is accepted; to be asked for in queries."),
            ("reason", "varchar", "sentence", "The same in words."),
            ("since", "timestamp", "since", "Accepted at, UTC."),
        ),
    ),
    PublishedTable(
        name="reviews",
        grain="One row per link and field that both sides edited and that waits for somebody's word (`dynsync review`).",
        source="state.reviews",
        key="person_id",
        columns=plain(
            _PERSON,
            (
                "review_id",
                "bigint",
                "review_id",
                "Its number, for `dynsync review`; another one once either side is edited.",
            ),
            _TYPE,
            ("record_id_dynamics", "varchar", "dynamics_id", "Id of the lead or contact in Dynamics."),
            _FIELD,
            ("base_value", "varchar", "base_shown", "What both sides last agreed on; an option's label."),
            ("dynamics_value", "varchar", "dynamics_shown", "The value in Dynamics; an option's label."),
            ("marketo_value", "varchar", "marketo_shown", "The value in Marketo; an option's label."),
            ("opened_at", "timestamp", "opened_at", "Waiting since, UTC."),
            (
                "choice",
                "varchar",
                "choice",
                "dynamics or marketo: what somebody decided; the next cycle carries it out.",
            ),
            ("chosen_at", "timestamp", "chosen_at", "When, UTC."),
            ("chosen_by", "varchar", "chosen_by", "Who."),
        ),
    ),
    PublishedTable(
        name="unsettled",
        grain="One row per link and field not synced yet; for a record without a person one row, whose field is null.",
        source=told("state.unsettled", "reason_code"),
        key="dynamics_id",
        columns=plain(
            _TYPE,
            ("record_id_dynamics", "varchar", "dynamics_id", "Id of the record in Dynamics."),
            ("person_id_marketo", "bigint", "person_id", "Id of the person; null: not created in Marketo yet."),
            _FIELD,
            _DYNAMICS_VALUE,
            _MARKETO_VALUE,
            (
                "reason_code",
                "varchar",
                "reason_code",
                "planned, refused, waiting, waiting_for_approval, missing or changed_meanwhile.",
            ),
            ("code", "varchar", "state.unsettled.code", "The code of the refusal: the system's, or DynSync's own."),
            ("reason", "varchar", "concat_ws(': ', sentence, state.unsettled.code)", "Both in words."),
            ("attempts", "integer", "attempts", "How often it was tried without success."),
            ("since", "timestamp", "since", "Unsettled since, UTC."),
            ("next_look_at", "timestamp", "next_look_at", "The first cycle after this looks at it again, UTC."),
        ),
    ),
    PublishedTable(
        name="approvals",
        grain="One row per value that waits until somebody approves it, because its cause reaches many people "
        "(`dynsync approve`).",
        source="state.approvals",
        key="approval_id",
        columns=plain(
            ("approval_id", "bigint", "approval_id", "The number of its cause, for `dynsync approve`."),
            ("cause", "varchar", "cause", "account, field, or create: new people."),
            ("cause_name", "varchar", "cause_name", "Id of the account, name of the field, or record type."),
            ("n_people", "bigint", "n_people", "How many people the cause reached when it was asked."),
            _TYPE,
            ("record_id_dynamics", "varchar", "dynamics_id", "Id of the record in Dynamics."),
            ("person_id_marketo", "bigint", "person_id", "Id of the person; null: an account, or nobody yet."),
            ("field", "varchar", "field", "REST name of the field in Marketo; null: a new person as a whole."),
            ("direction", "varchar", "direction", "to_marketo or to_dynamics."),
            ("old_value", "varchar", "old_value", "What stands there; an option's label."),
            ("new_value", "varchar", "new_value", "What is to be written; an option's label."),
            ("asked_at", "timestamp", "asked_at", "Waiting since, UTC."),
            ("approved_at", "timestamp", "approved_at", "Approved at, UTC; the next cycle writes it."),
            ("approved_by", "varchar", "approved_by", "By whom; DYNSYNC_ASK_ABOVE where the limit was raised."),
        ),
    ),
    PublishedTable(
        name="tombstones",
        grain="One row per link that ended because its record was deleted on one side, or qualified, or its person merged.",
        source="state.tombstones",
        key="dynamics_id",
        columns=plain(
            ("record_type", "varchar", "record_type", "lead or contact."),
            ("record_id_dynamics", "varchar", "dynamics_id", "Id of the lead or contact in Dynamics."),
            _PERSON,
            (
                "side",
                "varchar",
                "side",
                "dynamics, marketo: where it was deleted (R79, R81); merged: into a contact's person (R25); "
                "qualified: its person is its contact's (R96).",
            ),
            ("ended_at", "timestamp", "ended_at", "Seen at, UTC."),
        ),
    ),
    PublishedTable(
        name="parked_fields",
        grain="One row per field of the field map that is not synced now: not offered by a system, or new and being read.",
        source="state.parked_fields",
        key="marketo_field",
        columns=plain(
            _TYPE,
            ("field", "varchar", "marketo_field", "REST name of the field in Marketo."),
            ("dynamics_column", "varchar", "dynamics_column", "Logical name of the column in Dynamics."),
            (
                "reason_code",
                "varchar",
                "reason_code",
                "not_offered: by a system (R107); being_read, to_be_read: it is new, and first read of everybody (R100); "
                "new_in_package: it came with an upgrade, and is off.",
            ),
            ("reason", "varchar", "reason", "What is missing and what to do, or how far the reading is."),
        ),
    ),
    PublishedTable(
        name="back_fills",
        grain="One row per back-fill that somebody asked for and record type (R100).",
        source=told("state.back_fills", "outcome_code"),
        key="back_fill_id",
        columns=plain(
            ("back_fill_id", "bigint", "back_fill_id", "Its number, for `dynsync backfill --stop`."),
            ("record_type", "varchar", "record_type", "account, contact or lead."),
            ("fields", "varchar[]", "fields", "REST names of the fields in Marketo."),
            (
                "created_since",
                "timestamp",
                "try_cast(created_since as timestamp)",
                "Records created from then on, UTC.",
            ),
            (
                "modified_since",
                "timestamp",
                "try_cast(modified_since as timestamp)",
                "Records modified from then on, UTC.",
            ),
            ("asked_at", "timestamp", "asked_at", "Asked for at, UTC."),
            ("n_records", "bigint", "n_chosen", "Records that this chose when it was asked for."),
            ("n_read", "bigint", "n_read", "Of these read by now."),
            (
                "n_sent_again",
                "bigint",
                "n_again",
                "Fields, of accounts companies, that stood unequal and are sent once more.",
            ),
            ("n_set_aside", "bigint", _of_set_aside("count(*)"), "Stretches of time that could not be read and wait."),
            ("set_aside_because", "varchar", _of_set_aside("min(w.message)"), "Why one of them could not be read."),
            ("next_look_at", "timestamp", _of_set_aside("min(w.next_look_at)"), "When the first is tried again, UTC."),
            ("ended_at", "timestamp", "ended_at", "Ended at, UTC; null: it goes on."),
            ("outcome_code", "varchar", "outcome_code", "done, stopped; null: it goes on."),
            ("outcome", "varchar", "sentence", "The same in words."),
        ),
    ),
    PublishedTable(
        name="cursors",
        grain="One row per stream of changes: when it was last read, as of the last swap; status.json tells later reads. "
        "The cursor itself stays in the working file.",
        source="state.cursors left join state.refused_links using (stream)",
        key="stream",
        columns=plain(
            ("stream", "varchar", "stream", "System and table that is read."),
            ("moved_at", "timestamp", "moved_at", "Last read at, UTC; a cursor unused for too long dies."),
            ("is_loaded", "boolean", "is_loaded", "The last full read has ended; false while a table is read anew."),
            (
                "waits_because",
                "varchar",
                "waits_because",
                "What the system said when it refused this cursor again, since when the stream is not read; null: it is read.",
            ),
        ),
    ),
    PublishedTable(
        name="field_map",
        grain="One row per synced field and record type: the field map less the parked fields.",
        source="reconcile.fields",
        key="field",
        columns=plain(
            _TYPE,
            _FIELD,
            ("dynamics_column", "varchar", "dynamics_column", "Logical name of the column in Dynamics."),
            ("type", "varchar", "type", "How values are compared (R45)."),
            ("direction", "varchar", "direction", "both, to_marketo or to_dynamics."),
            ("collision", "varchar", "collision", "Who wins where both sides edited it; original: R35."),
            ("forbids", "varchar", "forbids", "Of a boolean that the stricter value decides, the value that forbids."),
        ),
    ),
    PublishedTable(
        name="options",
        grain="One row per option of a choice column in Dynamics (R33).",
        source="state.options",
        key="option_value",
        columns=plain(
            _TYPE,
            ("dynamics_column", "varchar", "dynamics_column", "Logical name of the column in Dynamics."),
            ("option_value", "varchar", "option_value", "The option's number, which Dynamics stores."),
            ("label", "varchar", "label", "The option's label, which Marketo stores."),
        ),
    ),
)
