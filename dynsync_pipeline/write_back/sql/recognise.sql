-- recognise: finds out, after a cut, what became of operations that were sent and have no receipt, value by value, from the
-- mirror, which was read again before. In Marketo a value is ours if it stands, or stood there until somebody edited it, as the
-- feed tells. In Dynamics nothing is ours while the version is the one we knew; else what stands, and what was rewritten while
-- nobody came after us. What is ours of an operation gets its receipt; the rest never happened and is planned anew
-- (docs/design.md#after-a-cut).
--
-- reads    this_moment, reconcile.operations, reconcile.receipts, reconcile.planned_changes, reconcile.planned_account_changes,
--          reconcile.refused_fields, reconcile.unsent_fields, reconcile.own_fields, reconcile.fields, inbox.feed_after_cut, inbox.last_changed_by_us,
--          mirror.marketo_people, mirror.marketo_companies, mirror.person_records, state.dynamics_values,
--          state.marketo_values, state.company_values, state.bearers, state.links, state.old_labels, state.unsettled
-- makes    uncertain: one row per operation that was sent and has no receipt
--          kept_shorter: one row per uncertain operation and value that Marketo kept shorter: one change only, from what the plan knew to
--              the beginning of ours
--          told_as_ours: one row per operation and field that the feed shows as ours, and the place of that entry
--          held_values: one row per person of an uncertain operation, system and field that is not null there
--          written_values: one row per value of an uncertain update, `is_ours` where it was applied, `is_edited` where somebody
--              came after us
--          made_people: one row per uncertain operation that made a person, and that person
--          recognised: one row per uncertain operation of which something is ours
--          never_done: one row per value of these that is not
-- changes  reconcile.receipts, reconcile.edited_meanwhile, reconcile.unsent_fields, reconcile.planned_changes,
--          reconcile.planned_collisions, reconcile.planned_activities, state.standing_differences, inbox.feed_after_cut, inbox.last_changed_by_us
create temp table uncertain as
select * from reconcile.operations
where sent_at is not null and operation_id not in (select operation_id from reconcile.receipts);

create temp table kept_shorter as
select u.operation_id, c.field
from uncertain u
join reconcile.planned_changes c using (operation_id)
join inbox.feed_after_cut f on f.person_id = u.person_id and f.field = c.field
group by u.operation_id, c.field, c.old_value, c.new_value
having count(*) = 1 and any_value(f.old_value) is not distinct from c.old_value and starts_with(c.new_value, any_value(f.value));

create temp table told_as_ours as
with entries as (
    select
        u.operation_id, f.guid, f.field, f.place, f.value is not distinct from c.new_value as is_as_sent,
        (u.operation_id, c.field) in (select (operation_id, field) from kept_shorter) as is_shorter
    from uncertain u
    join reconcile.planned_changes c using (operation_id)
    join inbox.feed_after_cut f on f.person_id = u.person_id and f.field = c.field
)
select operation_id, field, coalesce(min(place) filter (where is_as_sent), min(place)) as place
from entries
-- What was changed in one go with a value of ours is what Marketo made of another value of ours (R31).
where is_as_sent or is_shorter or (operation_id, guid) in (select (operation_id, guid) from entries where is_as_sent)
group by operation_id, field;

create temp table held_values as
with in_dynamics as (
    from state.dynamics_values where person_id in (select person_id from uncertain)
),
in_marketo as (
    from state.marketo_values where person_id in (select person_id from uncertain)
)
select 'dynamics' as system, person_id, field, value from long_of('in_dynamics')
union all
select 'marketo', person_id, field, value from long_of('in_marketo')
union all
select 'marketo', p.person_id, own.field, own.value
from mirror.marketo_people p
cross join reconcile.own_fields f
cross join lateral (
    select unnest([
        {field: f.company, value: p.external_company_id}, {field: f.is_deleted, value: p.is_deleted_in_dynamics},
        {field: f.lead_id, value: p.dynamics_lead_id}, {field: f.contact_id, value: p.dynamics_contact_id},
        {field: f.person_type, value: p.dynamics_type}, {field: f.created_on, value: p.dynamics_created_on}
    ], recursive := true)
) own
where p.person_id in (select person_id from uncertain);

create temp table written_values as
with held as (
    select
        u.*, c.field, t.place,
        h.value is not distinct from c.sent_value and coalesce(x.label = c.new_value, true) as stands,
        h.value is distinct from s.dynamics_value as is_moved,
        (u.record_type, u.dynamics_id) in (select (record_type, dynamics_id) from inbox.last_changed_by_us) as is_last_ours
    from uncertain u
    join reconcile.planned_changes c using (operation_id)
    left join held_values h on h.system = u.system and h.person_id = u.person_id and h.field = c.field
    left join told_as_ours t on t.operation_id = u.operation_id and t.field = c.field
    left join state.unsettled s on s.person_id = u.person_id and s.field = c.field
    -- An option that was renamed has the same number before and after our write.
    left join state.old_labels x
        on u.system = 'marketo' and x.person_id = u.person_id and x.record_type = u.record_type and x.field = c.field
    where u.action = 'update'
      and (u.operation_id, c.field) not in (select (operation_id, field) from reconcile.refused_fields)
),
-- An operation that left whole and of which something stands was applied as a whole, where somebody changed the record after it.
-- That a checkbox or option stands as we sent it proves nothing: it has few values, and somebody else may have chosen the same.
proven as (
    select h.operation_id
    from held h
    join mirror.person_records r using (record_type, dynamics_id)
    join reconcile.fields f on f.record_type = h.record_type and f.field = h.field and f.type not in ('boolean', 'choice', 'choices')
    where h.stands and not coalesce(h.is_in_parts, false) and r.modifiedon >= strftime(h.sent_at, '%Y-%m-%dT%H:%M:%SZ')
)
select
    h.operation_id, h.person_id, h.field,
    case
        when h.system = 'marketo' then h.stands or h.place is not null
        when r.etag is not distinct from h.etag then false
        -- What nobody else touched and is neither as it was nor as it was sent, Dynamics made of ours (R31).
        when h.is_last_ours then h.stands or h.is_moved
        else h.stands or h.operation_id in (select operation_id from proven)
    end as is_ours,
    h.system = 'dynamics' and not h.stands and not h.is_last_ours as is_edited
from held h
left join mirror.person_records r on h.system = 'dynamics' and r.record_type = h.record_type and r.dynamics_id = h.dynamics_id;

create temp table made_people as
select u.operation_id, coalesce(u.is_in_parts, false) as is_in_parts, min(b.person_id) as person_id
from uncertain u
join state.bearers b using (record_type, dynamics_id)
where u.action = 'create' and b.person_id not in (select person_id from state.links)
group by all;

create temp table recognised as
with companies_held as (
    from state.company_values where external_company_id in (select company_key from uncertain)
)
select distinct operation_id, person_id from written_values where is_ours
union all
select operation_id, person_id from made_people
union all
-- A company write repeats without harm, so one whose values all stand is taken as ours, and else it is planned anew.
select u.operation_id, u.person_id
from uncertain u
join mirror.marketo_companies k on k.external_company_id = u.company_key
left join reconcile.planned_account_changes a using (operation_id)
left join long_of('companies_held') v on v.external_company_id = u.company_key and v.field = a.field
left join reconcile.planned_changes c on c.operation_id = u.operation_id
left join held_values h on h.system = 'marketo' and h.person_id = u.person_id and h.field = c.field
where u.action = 'company'
group by u.operation_id, u.person_id, u.record_type
having bool_and(a.field is null or v.value is not distinct from a.new_value)
   and bool_and(c.field is null or u.person_id is null or h.value is not distinct from c.base_after)
   -- That an account's new company is there proves nothing of what was sent apart from its first part.
   and not (count(a.field) = 0 and u.record_type = 'account' and coalesce(bool_or(u.is_in_parts), false));

insert into reconcile.receipts (operation_id, outcome, person_id, received_at, is_settled)
select operation_id, 'applied', person_id, noted_at, false from recognised, this_moment;

-- A person who was made in parts lacks what never left: Marketo held nothing there before the first edit that the feed tells.
insert into reconcile.unsent_fields (operation_id, field)
with people as (
    select * exclude (is_deleted) from mirror.marketo_people
    where person_id in (select person_id from made_people where is_in_parts)
),
held as (
    from long_of('people')
),
told as (
    select
        m.operation_id, f.field, min_by({was: f.old_value}, f.place).was as first_value,
        bool_or(f.value is not distinct from c.new_value) as is_ours_told
    from made_people m
    join reconcile.planned_changes c using (operation_id)
    join inbox.feed_after_cut f on f.person_id = m.person_id and f.field = c.field
    where m.is_in_parts
    group by m.operation_id, f.field
)
select c.operation_id, c.field
from made_people m
join reconcile.planned_changes c using (operation_id)
left join held h on h.person_id = m.person_id and h.field = c.field
left join told t on t.operation_id = c.operation_id and t.field = c.field
where m.is_in_parts and not coalesce(t.is_ours_told, false)
  and coalesce(case when t.field is null then h.value else t.first_value end, 'false') = 'false';

-- Of an undo whose field is compared no more since nobody can tell whether it was applied. Then what it put back must be no edit,
-- once the field comes back; where it was not applied, the two sides are equal, and no difference stands.
insert into state.standing_differences (person_id, field, dynamics_value, marketo_value, reason_code, since)
select
    u.person_id, c.field, case u.system when 'dynamics' then c.sent_value else c.base_after end,
    case u.system when 'marketo' then c.sent_value else c.base_after end, 'undo', noted_at
from uncertain u
cross join this_moment
join reconcile.planned_changes c on c.operation_id = u.operation_id and c.rule_code = 'undo'
where (u.record_type, c.field) not in (select (record_type, field) from reconcile.fields);

-- What is not ours of an operation that is was not done by it.
create temp table never_done as
select operation_id, field from written_values where not is_ours and operation_id in (select operation_id from recognised)
union all
select operation_id, field from reconcile.unsent_fields;

delete from reconcile.planned_activities
where operation_id in (select operation_id from never_done, reconcile.own_fields where field = own_fields.company);

delete from reconcile.planned_collisions where (operation_id, field) in (from never_done);

delete from reconcile.planned_changes where (operation_id, field) in (from never_done);

-- What a value was changed to after ours is an edit by somebody, not what the system made of our value.
insert into reconcile.edited_meanwhile (operation_id, field)
select distinct r.operation_id, f.field
from reconcile.receipts r
join reconcile.operations o using (operation_id)
join inbox.feed_after_cut f on f.person_id = r.person_id
left join reconcile.planned_changes c on c.operation_id = r.operation_id and c.field = f.field
left join told_as_ours t on t.operation_id = r.operation_id and t.field = f.field
where not r.is_settled and o.system = 'marketo' and o.action in ('create', 'update')
  and f.value is distinct from c.new_value and f.place > coalesce(t.place, -1)
union
select operation_id, field from written_values where is_ours and is_edited;

delete from inbox.feed_after_cut;
delete from inbox.last_changed_by_us;
