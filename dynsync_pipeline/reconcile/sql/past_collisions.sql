-- past_collisions: puts collisions of the past forward once more, each like an edit that was overwritten unseen: both sides count
-- as edited, and nothing that stands now takes part. It is nobody's by then: its number, negative, stands for the person.
--
-- reads    ledger.collisions, other_rules, tried_since
-- makes    overwritten_fields: one row per collision of a field that is still synced both ways
--          past_dynamics_edits: one row per such collision that goes by the newest edit; of Dynamics it was kept when the record
--              was last modified, which is not before the edit, and of what came before nothing is known
--          past_marketo_edits: one row per such collision of whose edit in Marketo the moment was kept
-- changes  nothing
create temp table overwritten_fields as
select
    -c.entry_id as person_id, c.record_type, 'collision ' || c.entry_id as dynamics_id, c.field, o.dynamics_column, o.type,
    o.direction, o.collision, o.forbids, true as has_base, c.base_value,
    case o.type when 'boolean' then coalesce(c.dynamics_value, 'false') else c.dynamics_value end as dynamics_value,
    case o.type when 'boolean' then coalesce(c.marketo_value, 'false') else c.marketo_value end as marketo_value,
    false as is_relabelled, true as is_carried_over
from ledger.collisions c
join other_rules o on o.record_type = c.record_type and o.field = c.field
cross join tried_since s
where c.settled_at >= s.since and c.rule_code <> 'deleted_in_dynamics';

create temp table past_dynamics_edits as
select p.record_type, p.dynamics_id, p.field, null::timestamp as after_at, c.dynamics_modified_at as until_at
from overwritten_fields p
join ledger.collisions c on c.entry_id = -p.person_id
where p.collision = 'newest';

create temp table past_marketo_edits as
select p.person_id, p.field, c.marketo_value as value, c.marketo_changed_at as told_at
from overwritten_fields p
join ledger.collisions c on c.entry_id = -p.person_id
where p.collision = 'newest' and c.marketo_changed_at is not null;
