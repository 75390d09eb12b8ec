"""The views and macros of the snapshot: questions that take more than one table, asked once and answered in one query.

They are part of the file, and written in SQL that every reader from DuckDB 1.2 on understands. Those that follow the field
map are made in `side_by_side.py` and `as_of.py`. Not here: the tables they read (`tables.py`, `ledger_tables.py`,
`state_tables.py`), queries to copy (`docs/questions.md`).
"""

from __future__ import annotations

from dynsync_pipeline.model.field_map import FieldMap
from dynsync_pipeline.publish.as_of import person_as_of, record_as_of
from dynsync_pipeline.publish.side_by_side import side_by_side
from dynsync_pipeline.publish.view import PublishedView


def published_views(fields: FieldMap) -> tuple[PublishedView, ...]:
    """All of them for this field map; each may read those before it."""
    return (side_by_side(fields), person_as_of(fields), record_as_of(fields), *_VIEWS)


_TODAY = "make_timestamp(epoch_us(now()))::date"  # the day in UTC, whatever zone the reader's session has

_VIEWS = (
    PublishedView(
        "changes_today",
        "One row per value that the sync wrote to a person, contact or lead since midnight UTC, and who had edited it.",
        {
            "change_id": "Key; grows with time.",
            "cycle_id": "The cycle whose plan decided it; see cycles.",
            "changed_at": "When the system confirmed the write, UTC.",
            "direction": "to_marketo or to_dynamics.",
            "record_type": "lead or contact.",
            "person_id_marketo": "Id of the person in Marketo.",
            "record_id_dynamics": "Id of the contact or lead in Dynamics.",
            "field": "REST name of the field in Marketo.",
            "old_value": "What the target held before, as text; options as labels.",
            "new_value": "What was written, as text; options as labels.",
            "rule_code": "The rule that decided it; new_in_dynamics are all values of a new person.",
            "rule": "The same by number and in words, which may change.",
            "edited_at": "When the source was edited, as far as it tells: of Dynamics the record, of Marketo the field.",
            "edited_by": "Of Dynamics the name of the record's last editor, of Marketo where the change came from.",
        },
        f"""
select
    c.* exclude (dynamics_modified_at, dynamics_modified_by, marketo_changed_at, marketo_source),
    case when c.direction = 'to_marketo' then c.dynamics_modified_at else c.marketo_changed_at end as edited_at,
    case when c.direction = 'to_marketo' then coalesce(u.name, c.dynamics_modified_by) else c.marketo_source end as edited_by
from changes c
left join users u on u.user_id = c.dynamics_modified_by
where c.changed_at >= {_TODAY}
""",
    ),
    PublishedView(
        "field_history",
        "One row per value of a linked person or its record that was seen to move, in either system, whoever moved it; new "
        "people and records have one row without field. Ask for a person, a record or a field.",
        {
            "observation_id": "Key; grows with time.",
            "seen_at": "When the sync saw it, UTC.",
            "cycle_id": "The cycle that was running, or had run last; see cycles.",
            "system": "dynamics or marketo: whose value it is.",
            "person_id_marketo": "Id of the person in Marketo; of a record of its person now.",
            "record_type": "lead or contact; of a person that of its record now.",
            "record_id_dynamics": "Id of the contact or lead; of a person that of its record now.",
            "field": "REST name of the field in Marketo; null where somebody was first seen, or the column is not mapped.",
            "dynamics_column": "Logical name of the column in Dynamics; null of a person.",
            "old_value": "The value before, as text; options as labels.",
            "new_value": "The value after that, likewise.",
            "changed_at": "Of a record when it was last modified, of a person when the feed tells that the field changed, UTC.",
            "changed_by": "Name of the record's last editor in Dynamics, who may be the sync itself.",
            "source": "Where a change in Marketo came from, as its feed tells.",
            "is_own_write": "The sync wrote that value in that cycle.",
            "rule": "The rule by which it did.",
        },
        """
select
    o.observation_id, o.seen_at, o.cycle_id, o.system, coalesce(o.person_id_marketo, r.person_id_marketo) as person_id_marketo,
    coalesce(p.record_type, case when o.system = 'dynamics' then o.object end) as record_type,
    coalesce(o.record_id_dynamics, p.record_id_dynamics) as record_id_dynamics, o.field, o.dynamics_column, o.old_value,
    o.new_value, o.changed_at, coalesce(u.name, o.changed_by) as changed_by, o.source, c.change_id is not null as is_own_write,
    c.rule
from observations o
left join links p on p.person_id_marketo = o.person_id_marketo
left join links r on r.record_type = o.object and r.record_id_dynamics = o.record_id_dynamics
left join users u on u.user_id = o.changed_by
left join changes c
    on c.cycle_id = o.cycle_id and c.field = o.field and c.direction = 'to_' || o.system
    and c.new_value is not distinct from o.new_value
    and case when o.system = 'marketo' then c.person_id_marketo = o.person_id_marketo
        else c.record_type = o.object and c.record_id_dynamics = o.record_id_dynamics end
where o.object in ('person', 'contact', 'lead')
""",
    ),
    PublishedView(
        "sync_lag",
        "One row per day (UTC), direction and record type: how long values took from their edit to the confirmed write.",
        {
            "day": "Day of the write, UTC.",
            "direction": "to_marketo or to_dynamics.",
            "record_type": "lead or contact.",
            "n_values": "Values whose source tells when it was edited.",
            "median_s": "Seconds that half of them took at most.",
            "p95_s": "Seconds that 95 of a hundred took at most.",
            "longest_s": "Seconds that the slowest took.",
        },
        """
select
    changed_at::date as day, direction, record_type, count(*) as n_values, median(lag_s) as median_s,
    quantile_cont(lag_s, 0.95) as p95_s, max(lag_s) as longest_s
from (
    select
        *, epoch(changed_at)
            - epoch(case when direction = 'to_marketo' then dynamics_modified_at else marketo_changed_at end) as lag_s
    from changes
)
where lag_s is not null
group by all
""",
    ),
    PublishedView(
        "errors_daily",
        "One row per day (UTC), object, direction, field and code: attempts that were refused.",
        {
            "day": "Day of the attempts, UTC.",
            "object": "account, contact or lead; person or company in Marketo that cannot be read.",
            "direction": "to_marketo or to_dynamics.",
            "field": "The field at fault, where the system names one.",
            "code": "The system's error code, or ours.",
            "n_attempts": "Attempts that were refused.",
            "n_errors": "Errors that these were of.",
            "n_new": "Of these errors, those that were new that day.",
        },
        """
select
    a.attempted_at::date as day, e.object, e.direction, e.field, e.code, count(*) as n_attempts,
    count(distinct e.error_id) as n_errors,
    count(distinct case when e.happened_at::date = a.attempted_at::date then e.error_id end) as n_new
from error_attempts a
join sync_errors e on e.error_id = a.error_id
group by all
""",
    ),
    PublishedView(
        "history_of_account_contacts",
        "One row per contact and field that an account's change reached without an activity of its own, because the account had "
        "more than 5,000 contacts (R54): derived from account_changes and from where each contact stood at that time.",
        {
            "account_change_id": "The row of account_changes.",
            "cycle_id": "The cycle whose plan decided it; see cycles.",
            "changed_at": "When Marketo confirmed it, UTC.",
            "account_id_dynamics": "Id of the account in Dynamics.",
            "record_id_dynamics": "Id of the contact.",
            "person_id_marketo": "Id of its person now; null: it has none.",
            "field": "REST name of the field in Marketo.",
            "old_value": "What the company held in Marketo before.",
            "new_value": "What the account holds.",
        },
        """
with moves as (
    select
        record_id_dynamics, seen_at, old_value, new_value,
        lag(seen_at) over (partition by record_id_dynamics order by observation_id) as since,
        lead(seen_at) over (partition by record_id_dynamics order by observation_id) as next_move
    from observations where object = 'contact' and dynamics_column = 'parentcustomerid'
),
stays as (
    select record_id_dynamics, lower(old_value) as account_id_dynamics, since, seen_at as until from moves
    union all
    select record_id_dynamics, lower(new_value), seen_at, null from moves where next_move is null
    union all
    select contactid, lower(parentcustomerid), null, null from contacts
    where contactid not in (select record_id_dynamics from moves)
),
deletions as (
    select record_id_dynamics, min(seen_at) as gone_at from observations
    where object = 'contact' and dynamics_column = 'is_deleted' and new_value = 'true' group by record_id_dynamics
)
select
    a.account_change_id, a.cycle_id, a.changed_at, a.account_id_dynamics, s.record_id_dynamics, l.person_id_marketo, a.field,
    a.old_value, a.new_value
from account_changes a
join stays s
    on s.account_id_dynamics = a.account_id_dynamics
    and (s.since is null or s.since <= a.changed_at) and (s.until is null or s.until > a.changed_at)
join contacts c on c.contactid = s.record_id_dynamics and c.createdon <= a.changed_at
left join deletions d on d.record_id_dynamics = s.record_id_dynamics
left join links l on l.record_type = 'contact' and l.record_id_dynamics = s.record_id_dynamics
where a.activities_suppressed
  and (case when d.gone_at is null then not c.is_deleted else d.gone_at > a.changed_at end)
""",
    ),
    PublishedView(
        "unlinked",
        "One row per person without a contact or lead, and per living contact or lead without a person: who has no row in links.",
        {
            "object": "person, contact or lead.",
            "person_id_marketo": "Id of the person in Marketo; null of a record.",
            "record_id_dynamics": "Id of the contact or lead in Dynamics; null of a person.",
            "reason_code": "Of a person only_in_marketo, or deleted_in_dynamics; of a record kept_out by the filter, merged, "
            "qualified, waiting for what a refusal or rule says in reason, or new.",
            "reason": "What it waits for, in words.",
        },
        """
select
    'person' as object, person_id_marketo, null::varchar as record_id_dynamics,
    case when is_deleted_in_dynamics then 'deleted_in_dynamics' else 'only_in_marketo' end as reason_code,
    null::varchar as reason
from people where not is_linked
union all
select
    r.object, null, r.record_id_dynamics,
    case when r.new_synctomkto is false then 'kept_out' when r.merged then 'merged' when r.is_qualified then 'qualified'
        when u.record_id_dynamics is not null then 'waiting' else 'new' end,
    u.reason
from (
    select 'contact' as object, contactid as record_id_dynamics, new_synctomkto, merged, false as is_qualified
    from contacts where not is_deleted
    union all
    select 'lead', leadid, new_synctomkto, merged, statecode = 1 from leads where not is_deleted
) r
left join (
    select record_type, record_id_dynamics, any_value(reason) as reason from unsettled
    where person_id_marketo is null group by all
) u on u.record_type = r.object and u.record_id_dynamics = r.record_id_dynamics
where (r.object, r.record_id_dynamics) not in (select (record_type, record_id_dynamics) from links)
""",
    ),
)
