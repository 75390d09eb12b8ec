-- answers: lays the receipts that are not settled yet beside the plan: what was applied, value by value, and what was not.
-- What a company got is not settled while its person shows another value, of the company without a key that it has not left:
-- somebody may edit that until it does, so that the field is settled again then (R131).
--
-- reads    reconcile.receipts, reconcile.operations, reconcile.planned_changes, reconcile.refused_fields, reconcile.unsent_fields,
--          reconcile.fields, mirror.marketo_people, mirror.marketo_companies, state.links, state.dynamics_records, state.marketo_values
-- makes    fresh_receipts: one row per operation with a receipt that is to be settled now, `person_id` also of a new person
--          still_shown: one row per person of a written company who has not left the one without a key, and value of that
--          applied_changes: one row per value that was applied: the plan less the fields that were refused
--          left_out_on_create: one row per new person and field that was refused, or never left, while the rest was taken
--          applied_links: one row per link of a person of an applied operation
--          dynamics_long: one row per person of an applied operation and field that is not null in Dynamics
--          marketo_long: one row per person of an applied operation and field that is not null in Marketo
-- changes  nothing
create temp table fresh_receipts as
-- What made a person of a record may have been linked by then.
with creates as (
    select distinct o.record_type, o.dynamics_id
    from reconcile.receipts r
    join reconcile.operations o using (operation_id)
    where not r.is_settled and o.person_id is null and r.person_id is null
)
select
    o.cycle_id, o.system, o.action, o.record_type, o.dynamics_id, o.person_id is null as is_new_person,
    coalesce(o.person_id, r.person_id, l.person_id) as person_id,
    r.* exclude (person_id)
from reconcile.receipts r
join reconcile.operations o using (operation_id)
left join links_to('creates') l on l.record_type = o.record_type and l.dynamics_id = o.dynamics_id
where not r.is_settled
  -- Whether its person left the company without a key, of which nobody had the answer, is found out first.
  and not (o.action = 'company' and o.record_type = 'lead' and o.person_id in (
      select u.person_id
      from reconcile.operations u
      join mirror.marketo_people m on m.person_id = u.person_id and m.external_company_id is null
      where u.system = 'marketo' and u.action = 'update' and u.sent_at is not null
        and u.operation_id not in (select operation_id from reconcile.receipts)
  ));

create temp table still_shown as
with left_companies as (
    select *, null::varchar as "(nothing)"  -- a map without accounts has no value to turn long
    from mirror.marketo_companies
    where external_company_id in (
        select 'person:' || r.person_id
        from fresh_receipts r
        join mirror.marketo_people m on m.person_id = r.person_id and m.external_company_id is null
        where r.action = 'company' and r.record_type = 'lead'
    )
)
select split_part(external_company_id, ':', 2)::bigint as person_id, field from long_of('left_companies');

create temp table applied_changes as
select
    r.*, c.field as changed_field, c.old_value, c.new_value, c.sent_value, c.base_after, c.rule_code,
    f.field is not null as is_mapped
from fresh_receipts r
join reconcile.planned_changes c using (operation_id)
left join reconcile.fields f on f.record_type = r.record_type and f.field = c.field
where r.outcome = 'applied'
  and (r.operation_id, c.field) not in (select (operation_id, field) from reconcile.refused_fields)
  and not (r.action = 'company' and (r.person_id, c.field) in (select (person_id, field) from still_shown));

create temp table left_out_on_create as
select r.person_id, x.field
from fresh_receipts r
join (
    select operation_id, field from reconcile.refused_fields union select operation_id, field from reconcile.unsent_fields
) x using (operation_id)
where r.is_new_person and r.person_id is not null;

create temp table applied_links as
with people as (
    select distinct person_id from fresh_receipts where outcome = 'applied' and person_id is not null
)
from links_of('people');

create temp table dynamics_long as
with wide as (
    select l.person_id, r.* from applied_links l join dynamics_records_of('applied_links') r using (record_type, dynamics_id)
)
select person_id, field, value from long_of('wide');

create temp table marketo_long as
with wide as (
    from marketo_values_of('applied_links')
)
select person_id, field, value from long_of('wide');
