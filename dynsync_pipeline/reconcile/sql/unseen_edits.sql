-- unseen_edits. Grain: one row per edit in Marketo that fell between our read and our write, and that our write overwrote.
-- The feed is history: our own entry tells another old value than we knew. It is settled as the collision it was (R35).
create or replace temp table unseen_edits as
select
    l.person_id, l.record_type, l.dynamics_id, u.field, f.type, u.value as marketo_shown,
    c.old_value as base_shown, c.new_value as dynamics_shown,
    case when f.type = 'choice' then coalesce(o.option_value, '?' || u.value) else u.value end as marketo_value,
    b.value as base_value
from state.unseen_edits u
join state.links l using (person_id)
join ledger.changes c on c.entry_id = u.change_id
join reconcile.fields f on f.record_type = l.record_type and f.field = u.field and f.direction = 'both' and not f.is_on_company
left join state.options_by_label o
    on o.record_type = l.record_type and o.dynamics_column = f.dynamics_column and o.label = u.value
left join (
    unpivot (select * exclude (record_type, dynamics_id) from state.base_values
             where person_id in (select person_id from state.unseen_edits))
    on columns(* exclude (person_id)) into name field value value
) b on b.person_id = l.person_id and b.field = u.field
-- Where a side has moved again since, that later edit is settled like any other.
where (l.person_id, u.field) not in (select (person_id, field) from field_outcomes);

-- Contact: Dynamics wins, which is what stands; only the loser is kept (R40).
insert into ledger.collisions
select
    nextval('ledger.entries'), cycle_id, planned_at, record_type, person_id, dynamics_id, field, base_shown, dynamics_shown,
    marketo_shown, 'dynamics', 'R35 contact: Dynamics wins'
from unseen_edits, this_cycle
where record_type = 'contact';

-- Lead: Marketo wins. The edit is put back, the base stays, and so the next cycle carries it to Dynamics.
create or replace temp table put_back as
select
    (select coalesce(max(operation_id), 0) from reconcile.operations) + row_number() over (order by person_id, field) as operation_id,
    *
from unseen_edits
where record_type = 'lead';

insert into reconcile.operations
select
    operation_id, cycle_id, 'marketo', 'update', record_type, dynamics_id, person_id, null, null,
    '{"id": ' || person_id || ', ' || to_json(field)::varchar || ': '
    || case
        when marketo_value is null then 'null'
        when type = 'boolean' then marketo_value
        when type in ('integer', 'decimal') and try_cast(marketo_value as decimal(38, 4)) is not null then marketo_value
        else to_json(marketo_shown)::varchar
    end || '}',
    null
from put_back, this_cycle;

insert into reconcile.planned_changes
select operation_id, field, dynamics_shown, marketo_shown, marketo_value, base_value, 'R35 lead: Marketo wins'
from put_back;

insert into reconcile.planned_collisions
select operation_id, field, base_shown, dynamics_shown, marketo_shown, 'marketo', 'R35 lead: Marketo wins'
from put_back;

-- What is settled here, or overtaken by a later edit, is done; what is put back is done with its receipt.
delete from state.unseen_edits
where (person_id, field) not in (select (person_id, field) from put_back);
