-- seen_edits: when and by whom the values behind what was applied were edited, as the systems told when these were last seen to
-- move within a day. A record's own first sighting counts for all of its columns; what our own writes left behind does not.
--
-- reads    fresh_receipts, reconcile.planned_changes, reconcile.planned_collisions, reconcile.fields, ledger.observations
-- makes    seen_edits: one row per operation and field whose value was seen to move, in Dynamics or in Marketo
-- changes  nothing
create temp table seen_edits as
with lately as (
    from ledger.observations
    where seen_at > (select max(received_at) - interval 1 day from fresh_receipts) and not is_receipt
),
written as (
    select r.operation_id, r.record_type, r.dynamics_id, r.person_id, f.field, f.dynamics_column
    from fresh_receipts r
    join (
        select operation_id, field from reconcile.planned_changes
        union select operation_id, field from reconcile.planned_collisions
    ) c using (operation_id)
    join reconcile.fields f on f.record_type = r.record_type and f.field = c.field
    where r.outcome = 'applied'
),
in_dynamics as (
    select w.operation_id, w.field, max_by({edited_at: o.changed_at, who: o.changed_by}, o.entry_id) as edit
    from written w
    join lately o on o.object = w.record_type and o.dynamics_id = w.dynamics_id and (o.name = w.dynamics_column or o.name is null)
    group by all
),
in_marketo as (
    select w.operation_id, w.field, max_by({edited_at: o.changed_at, source: o.source}, o.entry_id) as edit
    from written w
    join lately o on o.object = 'person' and o.person_id = w.person_id and o.name = w.field
    group by all
)
select
    operation_id, field, d.edit.edited_at as dynamics_modified_at, d.edit.who as dynamics_modified_by,
    m.edit.edited_at as marketo_changed_at, m.edit.source as marketo_source
from in_dynamics d full join in_marketo m using (operation_id, field);
