-- fan_out: lists what an account's change does to its people (R53). Contacts are counted after this cycle's moves between
-- accounts; leads, deleted and stale people never count (R55, R92).
--
-- reads    company_differences, updated_accounts, company_links, state.links, state.filtered_out, state.account_values, state.company_values,
--          mirror.person_records, mirror.marketo_people, reconcile.operations, reconcile.fields,
--          reconcile.planned_account_changes
-- makes    account_contacts: one row per linked contact of an account whose company changes
-- changes  reconcile.planned_account_changes, reconcile.planned_activities
create temp table account_contacts as
select l.person_id, r.parent_id as account_id, m.external_company_id as held_key
from mirror.person_records r
join state.links l on l.record_type = r.record_type and l.dynamics_id = r.dynamics_id
join mirror.marketo_people m on m.person_id = l.person_id and not m.is_deleted
anti join state.filtered_out f on f.record_type = r.record_type and f.dynamics_id = r.dynamics_id
where not r.is_deleted
  and r.parent_id in (select account_id from company_differences);

-- One row per account and field, whatever the size of the account (R57).
insert into reconcile.planned_account_changes (operation_id, field, old_value, new_value, n_contacts, reason_code)
select o.operation_id, d.field, d.old_value, d.new_value, coalesce(n.n_contacts, 0), d.reason_code
from company_differences d
join updated_accounts u using (account_id)
join reconcile.operations o on o.action = 'company' and o.company_key = d.account_id
left join (select account_id, count(*) as n_contacts from account_contacts group by all) n using (account_id)
where not u.is_new;  -- a company that Marketo did not hold is created, not changed

-- One row per contact and field, unless the account has too many contacts: then there are none at all (R54).
insert into reconcile.planned_activities (operation_id, person_id, field, old_value, new_value, reason_code)
select a.operation_id, c.person_id, a.field, a.old_value, a.new_value, a.reason_code
from reconcile.planned_account_changes a
join reconcile.operations o using (operation_id)
join account_contacts c on c.account_id = o.company_key and c.held_key = o.company_key
where a.n_contacts <= most_contacts_logged();

-- A contact that moves to another account takes all of its fields; one contact's activities, whatever the size (R59).
insert into reconcile.planned_activities (operation_id, person_id, field, old_value, new_value, reason_code)
with moves as (
    select o.operation_id, l.person_id, coalesce(l.held_key, 'person:' || l.person_id) as held_key, l.wanted_key
    from company_links l
    join reconcile.operations o on o.person_id = l.person_id and o.system = 'marketo' and o.action = 'update'
    where l.record_type = 'contact' and l.held_key is distinct from l.wanted_key
),
keys as (select held_key as company_key from moves union select wanted_key from moves),
companies as (
    from state.company_values where external_company_id in (select company_key from keys)
),
accounts as (
    from state.account_values
    where account_id in (select company_key from keys) and account_id in (select account_id from updated_accounts)
),
held as (
    select external_company_id as company_key, field, value from long_of('companies')
),
wanted as (
    select account_id as company_key, field, value from long_of('accounts')
    union all
    -- An account that is not applied in this cycle: what its company holds, local edits included.
    select company_key, field, value from held where company_key not in (select account_id from updated_accounts)
)
select m.operation_id, m.person_id, f.field, h.value, w.value, 'account_moved'
from moves m
join reconcile.fields f on f.record_type = 'account'
left join held h on h.company_key = m.held_key and h.field = f.field
left join wanted w on w.company_key = m.wanted_key and w.field = f.field
where coalesce(h.value, case when f.type = 'boolean' then 'false' end)
    is distinct from coalesce(w.value, case when f.type = 'boolean' then 'false' end);
