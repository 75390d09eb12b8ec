-- After a cut: an operation that was sent and has no receipt is ours exactly if all its values stand in the mirror now,
-- which was read again before. Then it gets its receipt; otherwise it never happened and is planned anew (design, section 6).
insert into reconcile.receipts
with uncertain as (
    select o.* from reconcile.operations o
    where o.sent_at is not null and o.operation_id not in (select operation_id from reconcile.receipts)
),
held as (
    select 'dynamics' as system, person_id, field, value
    from (
        unpivot (
            select * exclude (record_type, dynamics_id) from state.dynamics_values
            where person_id in (select person_id from uncertain)
        ) on columns(* exclude (person_id)) into name field value value
    )
    union all
    select 'marketo', person_id, field, value
    from (
        unpivot (
            select * exclude (record_type, dynamics_id) from state.marketo_values
            where person_id in (select person_id from uncertain)
        ) on columns(* exclude (person_id)) into name field value value
    )
),
updates as (
    select u.operation_id, u.person_id
    from uncertain u
    join reconcile.planned_changes c using (operation_id)
    left join held h on h.system = u.system and h.person_id = u.person_id and h.field = c.field
    where u.action = 'update'
    group by u.operation_id, u.person_id
    having bool_and(h.value is not distinct from c.base_after)
),
creates as (
    select u.operation_id, min(m.person_id) as person_id
    from uncertain u
    join mirror.marketo_people m
        on (u.record_type = 'contact' and m.dynamics_contact_id = u.dynamics_id)
        or (u.record_type = 'lead' and m.dynamics_lead_id = u.dynamics_id)
    where u.action = 'create'
    group by u.operation_id
)
select operation_id, 'applied', null, null, null, person_id, now() at time zone 'UTC', null, false
from (select * from updates union all select * from creates);
