-- After a cut: an operation that was sent and has no receipt is ours exactly if all its values stand in the mirror now,
-- which was read again before. Then it gets its receipt; otherwise it never happened and is planned anew (design, section 6).

-- Values that Marketo kept shorter: one change only, from what the plan knew to the beginning of ours.
create or replace temp table kept_shorter as
select o.operation_id, c.field
from reconcile.operations o
join reconcile.planned_changes c using (operation_id)
join inbox.feed_after_cut f on f.person_id = o.person_id and f.field = c.field
where o.system = 'marketo' and o.sent_at is not null
group by o.operation_id, c.field, c.old_value, c.new_value
having count(*) = 1 and any_value(f.old_value) is not distinct from c.old_value and starts_with(c.new_value, any_value(f.value));

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
    union all
    select 'marketo', person_id, own_fields.company, external_company_id
    from mirror.marketo_people, reconcile.own_fields where person_id in (select person_id from uncertain)
    union all
    select 'marketo', person_id, own_fields.is_deleted, is_deleted_in_dynamics
    from mirror.marketo_people, reconcile.own_fields where person_id in (select person_id from uncertain)
),
updates as (
    select u.operation_id, u.person_id
    from uncertain u
    join reconcile.planned_changes c using (operation_id)
    left join held h on h.system = u.system and h.person_id = u.person_id and h.field = c.field
    where u.action = 'update'
      and (u.operation_id, c.field) not in (select (operation_id, field) from reconcile.refused_fields)
    group by u.operation_id, u.person_id
    having bool_and(
        h.value is not distinct from c.sent_value
        or (u.operation_id, c.field) in (select (operation_id, field) from kept_shorter)
        or (u.system = 'marketo' and (u.person_id, c.field, coalesce(c.new_value, '')) in (
            select (person_id, field, coalesce(value, '')) from inbox.feed_after_cut
        ))
    )
),
creates as (
    select u.operation_id, min(m.person_id) as person_id
    from uncertain u
    join mirror.marketo_people m
        on (u.record_type = 'contact' and m.dynamics_contact_id = u.dynamics_id)
        or (u.record_type = 'lead' and m.dynamics_lead_id = u.dynamics_id)
    where u.action = 'create' and not m.is_deleted and m.person_id not in (select person_id from state.links)
    group by u.operation_id
),
-- A company write repeats without harm, so one whose values all stand is taken as ours, and else it is planned anew.
companies as (
    select u.operation_id, u.person_id
    from uncertain u
    join mirror.marketo_companies k on k.external_company_id = u.company_key
    left join reconcile.planned_account_changes a using (operation_id)
    left join (
        unpivot (from state.company_values where external_company_id in (select company_key from uncertain))
        on columns(* exclude (external_company_id)) into name field value value
    ) v on v.external_company_id = u.company_key and v.field = a.field
    left join reconcile.planned_changes c on c.operation_id = u.operation_id
    left join held h on h.system = 'marketo' and h.person_id = u.person_id and h.field = c.field
    where u.action = 'company'
    group by u.operation_id, u.person_id
    having bool_and(a.field is null or v.value is not distinct from a.new_value)
       and bool_and(c.field is null or u.person_id is null or h.value is not distinct from c.base_after)
)
select operation_id, 'applied', null, null, null, person_id, now() at time zone 'UTC', null, false
from (select * from updates union all select * from creates union all select * from companies);

-- What the feed tells of a value after ours is an edit by somebody, not what Marketo made of our value.
insert into reconcile.edited_meanwhile
select distinct r.operation_id, f.field
from reconcile.receipts r
join reconcile.operations o using (operation_id)
join inbox.feed_after_cut f on f.person_id = r.person_id
left join reconcile.planned_changes c on c.operation_id = r.operation_id and c.field = f.field
where not r.is_settled and o.system = 'marketo' and o.action in ('create', 'update')
  and f.value is distinct from c.new_value
  and (r.operation_id, f.field) not in (select (operation_id, field) from kept_shorter);

delete from inbox.feed_after_cut;
