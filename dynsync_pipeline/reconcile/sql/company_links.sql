-- company_links: finds the company record that each person must stand behind: a contact behind its account's (R22, R59), a
-- lead behind one of its own as soon as either side has company text of it (R131), which a checkbox that nobody set is not. A contact whose parent was cleared, or is
-- no account, gets an empty company of its own once it has had another (R23, R60); before that it needs none.
--
-- reads    this_cycle, looked_at_records, doubled, inbox.touched, state.links, state.unread_links, state.unsettled, state.filtered_out,
--          state.dynamics_records, reconcile.fields, new_people, updated_accounts,
--          mirror.marketo_people, mirror.marketo_companies, mirror.person_records, mirror.dynamics_accounts
-- makes    company_links: one row per touched person, linked or to be created, with `held_key` and `wanted_key`
-- changes  nothing
create temp table company_links as
with looked_at as (
    select person_id from inbox.touched where person_id is not null
    union
    select l.person_id
    from links_to('inbox.touched') l
    semi join inbox.touched t on t.record_type = l.record_type and t.dynamics_id = l.dynamics_id
    union
    select person_id from state.unsettled, this_cycle where person_id is not null and next_look_at <= planned_at
    union
    -- An account that Marketo gets only now, because it was inactive until now, has contacts already.
    select l.person_id
    from updated_accounts u
    join mirror.person_records r on u.is_new and r.parent_id = u.account_id
    join state.links l on l.record_type = r.record_type and l.dynamics_id = r.dynamics_id
),
people as (
    select l.person_id, l.record_type, l.dynamics_id, m.external_company_id as held_key, m.is_deleted_in_dynamics
    from links_of('looked_at') l
    join mirror.marketo_people m on m.person_id = l.person_id and not m.is_deleted
    anti join state.filtered_out f on f.record_type = l.record_type and f.dynamics_id = l.dynamics_id  -- R92
    where l.person_id not in (select person_id from doubled) and l.person_id not in (select person_id from state.unread_links)
    union all
    select null, record_type, dynamics_id, null, null from new_people
),
-- Nearly all of them were looked at before.
other_people as (
    from people anti join looked_at_records using (record_type, dynamics_id)
),
records as (
    from looked_at_records
    union all
    from person_records_of('other_people')
),
leads as (
    from state.dynamics_records where record_type = 'lead' and dynamics_id in (select dynamics_id from people)
),
keyless_companies as (
    select *, null::varchar as "(nothing)"  -- a map without accounts has no value to turn long
    from mirror.marketo_companies
    where external_company_id in (select 'person:' || person_id from people where held_key is null)
),
texts as (
    select dynamics_id as key, field, value from long_of('leads')
    union all
    select external_company_id, field, value from long_of('keyless_companies')
),
lead_texts as (
    select distinct t.key
    from texts t
    join reconcile.fields f on f.record_type = 'lead' and f.is_on_company and f.field = t.field
    where not (f.type = 'boolean' and t.value = 'false')
)
select
    p.person_id, p.record_type, p.dynamics_id, p.held_key, p.is_deleted_in_dynamics,
    case
        when p.record_type = 'lead'
            and (t.key is not null or u.key is not null or k.external_company_id is not null)
            then 'lead:' || p.dynamics_id
        when p.record_type = 'lead' then p.held_key
        when a.accountid is not null then a.accountid
        when p.held_key is not null then 'contact:' || p.dynamics_id
    end as wanted_key
from people p
left join lead_texts t on t.key = case when p.record_type = 'lead' then p.dynamics_id end
left join lead_texts u on u.key = case when p.record_type = 'lead' then 'person:' || p.person_id end
left join mirror.marketo_companies k on p.record_type = 'lead' and k.external_company_id = 'lead:' || p.dynamics_id
left join records r on r.record_type = p.record_type and r.dynamics_id = p.dynamics_id
left join mirror.dynamics_accounts a on a.accountid = r.parent_id
    -- An account that is gone or kept out keeps its company, but nobody joins a company that was never made (R61, R94).
    and ((not a.is_deleted and coalesce(a.statecode, '0') = '0'
          and a.accountid not in (select dynamics_id from state.filtered_out where record_type = 'account'))
         or a.accountid in (select external_company_id from mirror.marketo_companies));
