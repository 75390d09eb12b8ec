-- unseen_edits: settles edits in Marketo that fell between our read and our write, and that our write overwrote. The feed is
-- history: our own entry tells another old value than we knew. Such an edit is settled as the collision it was, by the same rule
-- (R35); that of a stale person rests (R92), and where the record is gone since, the edit is kept as the loser.
--
-- reads    this_cycle, field_outcomes, overwritten_outcomes, ended_links, state.unseen_edits, state.links, state.filtered_out,
--          state.base_values, ledger.changes, reconcile.fields, reconcile.own_fields, reconcile.operations
-- makes    unseen_edits: one row per such edit that nobody has overtaken since; `is_gone` where its record is
--          put_back: one row per such edit that stands: it is written to Marketo again
--          overwritten_keys: one row per key that somebody wrote on a linked person meanwhile
-- changes  ledger.collisions, reconcile.operations, reconcile.planned_changes, reconcile.planned_collisions,
--          state.unseen_edits
create temp table unseen_edits as
with found as (
    select
        false as is_gone, person_id, record_type, dynamics_id, field, type, marketo_value, base_value as value_before,
        outcome, is_to_stand, rule_code
    from overwritten_outcomes
    union all by name
    select
        true as is_gone, e.person_id, e.record_type, e.dynamics_id, u.field, f.type,
        'collision_dynamics_wins' as outcome, false as is_to_stand, 'deleted_in_dynamics' as rule_code
    from state.unseen_edits u
    join ended_links e on e.person_id = u.person_id and e.side = 'dynamics'
    join reconcile.fields f
        on f.record_type = e.record_type and f.field = u.field and f.direction = 'both' and not f.is_on_company
)
select
    found.*, u.value as marketo_shown, c.old_value as base_shown, c.new_value as dynamics_shown,
    -- What was put on our side of an undone change stands in Dynamics as it was.
    case when c.rule_code = 'undo' then c.old_value else c.new_value end as dynamics_stands
from found
join state.unseen_edits u using (person_id, field)
join ledger.changes c on c.entry_id = u.change_id
-- Where Marketo has moved again since, that later edit is settled like any other; what Marketo made of our value is no edit. A
-- later edit of Dynamics waits for the next cycle, and meets there what is put back.
where (person_id, field) not in (
    select (person_id, field) from field_outcomes
    where outcome = 'agree' or outcome <> 'stand' and (is_marketo_update or not is_dynamics_update)
);

-- Dynamics wins, or there is nobody to carry it to: that is what stands; nothing is written, and only the loser is kept (R40).
insert into ledger.collisions
    (entry_id, cycle_id, settled_at, record_type, person_id, dynamics_id, field, base_value, dynamics_value, marketo_value,
     winner, rule_code)
select
    nextval('ledger.entries'), cycle_id, planned_at, record_type, person_id, dynamics_id, field, base_shown, dynamics_shown,
    marketo_shown, 'dynamics', rule_code
from unseen_edits, this_cycle
where outcome = 'collision_dynamics_wins';

-- Marketo wins: the edit is put back, the base stays, and so the next cycle carries it to Dynamics. Where a person is to decide,
-- it is put back beside the base of before, so that both sides are edited.
create temp table put_back as
with bases as (
    from state.base_values where person_id in (select person_id from unseen_edits)
)
select
    (select coalesce(max(operation_id), 0) from reconcile.operations)
        + row_number() over (order by e.person_id, e.field) as operation_id,
    e.*, case when e.rule_code = 'in_review' then e.value_before else b.value end as base_value
from unseen_edits e
left join long_of('bases') b on b.person_id = e.person_id and b.field = e.field
where e.is_to_stand;

insert into reconcile.operations (operation_id, cycle_id, system, action, record_type, dynamics_id, person_id, body)
select
    operation_id, cycle_id, 'marketo', 'update', record_type, dynamics_id, person_id,
    '{"id": ' || person_id || ', ' || to_json(field)::varchar || ': ' || json_text(marketo_shown, type) || '}'
from put_back, this_cycle;

insert into reconcile.planned_changes (operation_id, field, old_value, new_value, sent_value, base_after, rule_code)
select operation_id, field, dynamics_shown, marketo_shown, marketo_value, base_value, rule_code
from put_back;

insert into reconcile.planned_collisions
    (operation_id, field, base_value, dynamics_value, marketo_value, winner, rule_code)
select operation_id, field, base_shown, dynamics_stands, marketo_shown, 'marketo', rule_code
from put_back
where outcome = 'collision_marketo_wins';

-- A key is never theirs (R18): ours stands, and they are told.
create temp table overwritten_keys as
select distinct u.person_id, l.record_type, l.dynamics_id, u.field
from state.unseen_edits u
join state.links l using (person_id)
cross join reconcile.own_fields
where u.value is not null and u.field in (own_fields.contact_id, own_fields.lead_id);

-- What is settled here, or overtaken by a later edit, is done; what is put back is done with its receipt.
delete from state.unseen_edits
where (person_id, field) not in (select (person_id, field) from put_back)
  and person_id not in (
      select l.person_id from state.links l join state.filtered_out f on f.record_type = l.record_type and f.dynamics_id = l.dynamics_id
  );
