-- undone_fields: looks at what somebody wants undone: whether it is still ours. It is where the newest write of that field is the one
-- to undo, both sides hold its value, and neither was seen to be edited since; else it is left. The side of whoever edited it is
-- never changed: the other gets back what it held. What a system put off rests until it is due; where the label of an option is yet
-- to be written anew (R33), that goes first, and is no edit.
--
-- reads    this_cycle, compared_links, differing_fields, overwritten_fields, dynamics_side, marketo_side, state.undoing, state.option_maps,
--          ledger.changes, ledger.observations, reconcile.fields
-- makes    wanted_undos: one row per value that is to be undone now; `verdict` is ours, or why it is left; `is_relabelled` where its
--              label goes first
--          undone_fields: one row per value that is put back
-- changes  nothing
create temp table wanted_undos as
with dynamics_sides as (
    from dynamics_side where person_id in (select person_id from state.undoing)
),
marketo_sides as (
    from marketo_side where person_id in (select person_id from state.undoing)
),
written_since as (
    select distinct u.change_id
    from state.undoing u
    join ledger.changes c on c.person_id = u.person_id and c.field = u.field and c.entry_id > u.change_id
        and c.rule_code <> 'option_renamed'
),
seen_since as (
    select u.change_id
    from state.undoing u
    join ledger.observations o
        on o.object = 'person' and o.person_id = u.person_id and o.name = u.field and o.entry_id > u.change_id and not o.is_receipt
    union
    select u.change_id
    from state.undoing u
    join reconcile.fields f on f.record_type = u.record_type and f.field = u.field
    join ledger.observations o
        on o.object = u.record_type and o.dynamics_id = u.dynamics_id and o.name = f.dynamics_column
        and o.entry_id > u.change_id and not o.is_receipt
),
differing as (
    select
        person_id, field, is_relabelled and base_value is not distinct from dynamics_value
            and dynamics_value is not distinct from marketo_value as is_label_alone
    from differing_fields
),
valued as (
    select
        u.*, coalesce(x.is_label_alone, false) as is_relabelled, f.dynamics_column, f.type, coalesce(f.is_on_company, false) as is_on_company, f.field is not null as is_mapped,
        c.person_id is not null as is_linked, d.value as dynamics_value, m.value as marketo_value,
        compared_options(u.old_value, f.type, o) as old_text, compared_options(u.new_value, f.type, o) as new_text
    from state.undoing u
    cross join this_cycle
    left join differing x on x.person_id = u.person_id and x.field = u.field
    left join reconcile.fields f on f.record_type = u.record_type and f.field = u.field
    left join compared_links c
        on c.person_id = u.person_id and c.record_type = u.record_type and c.dynamics_id = u.dynamics_id
    left join long_of('dynamics_sides') d on d.person_id = u.person_id and d.field = u.field
    left join long_of('marketo_sides') m on m.person_id = u.person_id and m.field = u.field
    left join state.option_maps o on o.record_type = u.record_type and o.dynamics_column = f.dynamics_column
    where coalesce(u.next_look_at <= planned_at, true)
),
compared as (
    select
        * exclude (old_text, new_text),
        -- Of a boolean nothing and false are one value (R45).
        case type when 'boolean' then coalesce(old_text, 'false') else old_text end as value_before,
        case type when 'boolean' then coalesce(new_text, 'false') else new_text end as value_written
    from valued
)
select
    *,
    case
        when rule_code in ('new_in_dynamics', 'new_in_marketo') then 'created'
        when not is_mapped then 'not_synced'
        when is_on_company then 'of_company'
        when not is_linked then 'not_compared'
        when change_id in (select change_id from written_since) then 'written_since'
        when (person_id, field) in (select (person_id, field) from differing where not is_label_alone) then 'edited_since'
        when (person_id, field) in (select (person_id, field) from overwritten_fields) then 'edited_since'
        when dynamics_value is distinct from value_written or marketo_value is distinct from value_written then 'edited_since'
        when change_id in (select change_id from seen_since) then 'edited_since'
        when value_before is not distinct from value_written then 'nothing_to_undo'
        when starts_with(value_before, '?') then 'option_unknown'
        else 'ours'
    end as verdict
from compared;

create temp table undone_fields as
select * from wanted_undos where verdict = 'ours' and not is_relabelled;
