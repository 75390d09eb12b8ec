-- operations: makes the plan, one write to one record of one system each. All of it is committed before the first is sent.
-- `company` operations go first, so that people find the company they are to stand behind.
--
-- reads    this_cycle, planned_writes, new_values, new_people, updated_accounts, company_differences, company_links, waiting_own_fields, state.links,
--          state.account_values, state.lost_account_values, mirror.marketo_companies, looked_at_records, reconcile.fields, reconcile.own_fields,
--          reconcile.operations
-- makes    own_companies: one row per person who is to stand behind a company of its own, less those whose key has to wait
--          company_texts: one row per such person and value for that company: what the plan writes, what the company that
--              Marketo kept without a key holds besides, and nothing where a new person's record holds nothing: the company may
--              be left over from the person before
--          company_writes: one row per company to write, `members` is its JSON without the key
-- changes  reconcile.operations, reconcile.planned_changes, reconcile.planned_collisions, reconcile.refused_fields
create temp table own_companies as
select
    c.record_type, c.dynamics_id, c.person_id is null as is_of_new_person, c.wanted_key,
    case when c.held_key is null then 'person:' || c.person_id end as left_key
from company_links c
cross join reconcile.own_fields
where c.wanted_key = c.record_type || ':' || c.dynamics_id
  -- A company that nobody can be put behind would be written again and again.
  and (c.held_key is not null or c.person_id is null
       or c.person_id not in (select person_id from waiting_own_fields where field = own_fields.company));

create temp table company_texts as
with left_companies as (
    select *, null::varchar as "(nothing)"  -- a map without accounts has no value to turn long
    from mirror.marketo_companies
    where external_company_id in (select left_key from own_companies)
),
company_fields as (
    select field, min_by(type, record_type) as type from reconcile.fields where is_on_company group by field  -- the account's
),
planned as (
    select o.record_type, o.dynamics_id, w.json_name as field, w.json_value
    from own_companies o
    join planned_writes w on w.action = 'company' and w.record_type = o.record_type and w.dynamics_id = o.dynamics_id
)
from planned
union all
select o.record_type, o.dynamics_id, v.field, json_text(v.value, f.type)
from long_of('left_companies') v
join own_companies o on o.left_key = v.external_company_id
join company_fields f on f.field = v.field
where (o.record_type, o.dynamics_id, v.field) not in (select (record_type, dynamics_id, field) from planned)
union all
select o.record_type, o.dynamics_id, f.field, 'null'
from own_companies o
join reconcile.fields f on f.record_type = o.record_type and f.is_on_company and f.direction <> 'to_dynamics'
where o.is_of_new_person
  and (o.record_type, o.dynamics_id, f.field) not in (select (record_type, dynamics_id, field) from planned);

create temp table company_writes as
with accounts as (
    from state.account_values where account_id in (select account_id from updated_accounts)
)
-- An account's whole row, where it is new or anything differs (R52).
select
    'account' as record_type, a.account_id as dynamics_id, a.account_id as company_key,
    string_agg(', ' || to_json(f.field)::varchar || ': ' || json_text(v.value, f.type), '' order by f.field) as members
from updated_accounts a
join reconcile.fields f on f.record_type = 'account'
left join long_of('accounts') v on v.account_id = a.account_id and v.field = f.field
where (a.is_new or a.account_id in (select account_id from company_differences))
  and (a.account_id, f.field) not in (select (account_id, field) from state.lost_account_values)
group by all
union all
-- The company record of one lead, or the empty one of a contact that left its account.
select
    o.record_type, o.dynamics_id, o.wanted_key,
    coalesce(string_agg(', ' || to_json(t.field)::varchar || ': ' || t.json_value, '' order by t.field), '')
from own_companies o
left join company_texts t using (record_type, dynamics_id)
group by all
having count(t.field) > 0 or o.wanted_key not in (select external_company_id from mirror.marketo_companies);

insert into reconcile.operations
    (operation_id, cycle_id, system, action, record_type, dynamics_id, person_id, company_key, etag, body, sent_at)
with numbered as (
    select *, row_number() over (order by system, action, record_type, dynamics_id) as operation_id
    from (
        select distinct system, action, record_type, dynamics_id, person_id, null as company_key
        from planned_writes where action <> 'company'
        union
        select 'marketo', 'create', record_type, dynamics_id, null, null from new_people
        union all
        select 'marketo', 'company', c.record_type, c.dynamics_id, l.person_id, c.company_key
        from company_writes c
        left join state.links l on l.record_type = c.record_type and l.dynamics_id = c.dynamics_id
    )
),
bodies as (
    select
        n.*,
        coalesce(string_agg(', ' || to_json(w.json_name)::varchar || ': ' || w.json_value, '' order by w.json_name), '') as members
    from numbered n
    left join planned_writes w
        on w.system = n.system and w.action = n.action and w.record_type = n.record_type and w.dynamics_id = n.dynamics_id
    group by all
)
select
    b.operation_id,
    this_cycle.cycle_id,
    b.system,
    b.action,
    b.record_type,
    b.dynamics_id,
    b.person_id,
    b.company_key,
    case when b.system = 'dynamics' then r.etag end,
    case
        when b.system = 'dynamics' then '{' || ltrim(b.members, ', ') || '}'
        when b.action = 'company'
            then '{' || to_json(own_fields.company)::varchar || ': ' || to_json(b.company_key)::varchar || w.members || '}'
        when b.action = 'update' then '{"id": ' || b.person_id || b.members || '}'
        else '{'
            || to_json(case when b.record_type = 'contact' then own_fields.contact_id else own_fields.lead_id end)::varchar
            || ': ' || to_json(b.dynamics_id)::varchar || ', '
            || to_json(own_fields.person_type)::varchar || ': '
            || case when b.record_type = 'contact' then '"Contact", ' else '"Lead", ' end
            || to_json(own_fields.is_deleted)::varchar || ': false, '
            || to_json(own_fields.created_on)::varchar || ': ' || json_text(n.createdon, 'datetime')
            || b.members || '}'
    end,
    null
from bodies b
cross join this_cycle
cross join reconcile.own_fields
left join company_writes w
    on b.action = 'company' and w.record_type = b.record_type and w.dynamics_id = b.dynamics_id
left join new_people n on b.action = 'create' and n.record_type = b.record_type and n.dynamics_id = b.dynamics_id
left join looked_at_records r
    on b.system = 'dynamics' and r.record_type = b.record_type and r.dynamics_id = b.dynamics_id;

insert into reconcile.planned_changes (operation_id, field, old_value, new_value, sent_value, base_after, rule_code)
select
    o.operation_id,
    w.field,
    case when w.system = 'marketo' then w.marketo_shown else w.dynamics_shown end,
    case when w.system = 'marketo' then w.dynamics_shown else w.marketo_shown end,
    w.value,
    -- What is undone was agreed on, and stays the base.
    case when w.rule_code = 'undo' then w.base_value else w.value end,
    w.rule_code
from planned_writes w
join reconcile.operations o using (system, action, record_type, dynamics_id);

insert into reconcile.planned_collisions
    (operation_id, field, base_value, dynamics_value, marketo_value, winner, rule_code)
select
    o.operation_id, w.field, w.base_shown, w.dynamics_shown, w.marketo_shown,
    case when w.outcome = 'collision_dynamics_wins' then 'dynamics' else 'marketo' end,
    w.rule_code
from planned_writes w
join reconcile.operations o using (system, action, record_type, dynamics_id)
where w.outcome in ('collision_dynamics_wins', 'collision_marketo_wins');

-- What Marketo is known to refuse of a new person is set aside with the create, as if it had been answered (R116).
insert into reconcile.refused_fields (operation_id, field, code, message)
select
    o.operation_id, n.field, n.misfit_code,
    misfit_sentence(n.misfit_code, n.type, n.field || ' in Marketo', 'Dynamics', n.most_characters, null, null)
from new_values n
join reconcile.operations o on o.action = 'create' and o.record_type = n.record_type and o.dynamics_id = n.dynamics_id
where n.misfit_code is not null;
