-- operations. Grain: one row per write to one record of one system. The plan: all of it is committed before the first is
-- sent. `company` operations go first, so that people find the company they are to stand behind.
delete from reconcile.operations;
delete from reconcile.planned_changes;
delete from reconcile.planned_collisions;
delete from reconcile.planned_activities;
delete from reconcile.planned_account_changes;
delete from reconcile.receipts;
delete from reconcile.refused_fields;
delete from reconcile.edited_meanwhile;

create or replace temp table company_writes as
-- An account's whole row, where it is new or anything differs (R52).
select
    'account' as record_type, a.account_id as dynamics_id, a.account_id as company_key,
    string_agg(
        ', ' || to_json(f.field)::varchar || ': ' || case
            when v.value is null then 'null'
            when f.type = 'boolean' then v.value
            when f.type in ('integer', 'decimal') and try_cast(v.value as decimal(38, 4)) is not null then v.value
            else to_json(v.value)::varchar
        end, '' order by f.field
    ) as members
from updated_accounts a
join reconcile.fields f on f.record_type = 'account'
left join (
    unpivot (from state.account_values where account_id in (select account_id from updated_accounts))
    on columns(* exclude (account_id)) into name field value value
) v on v.account_id = a.account_id and v.field = f.field
where a.is_new or a.account_id in (select account_id from company_differences)
group by all
union all
-- The company record of one lead, or the empty one of a contact that left its account.
select
    c.record_type, c.dynamics_id, c.wanted_key,
    coalesce(string_agg(', ' || to_json(w.json_name)::varchar || ': ' || w.json_value, '' order by w.json_name), '')
from company_links c
left join planned_writes w on w.action = 'company' and w.record_type = c.record_type and w.dynamics_id = c.dynamics_id
where c.wanted_key = c.record_type || ':' || c.dynamics_id
group by all
having count(w.field) > 0 or c.wanted_key not in (select external_company_id from mirror.marketo_companies);

insert into reconcile.operations
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
    case when b.system = 'dynamics' then coalesce(c.etag, l.etag) end as etag,
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
            || to_json(own_fields.created_on)::varchar || ': ' || coalesce(to_json(n.createdon)::varchar, 'null')
            || b.members || '}'
    end as body,
    null as sent_at
from bodies b
cross join this_cycle
cross join reconcile.own_fields
left join company_writes w
    on b.action = 'company' and w.record_type = b.record_type and w.dynamics_id = b.dynamics_id
left join new_people n on b.action = 'create' and n.record_type = b.record_type and n.dynamics_id = b.dynamics_id
left join mirror.dynamics_contacts c on b.system = 'dynamics' and b.record_type = 'contact' and c.contactid = b.dynamics_id
left join mirror.dynamics_leads l on b.system = 'dynamics' and b.record_type = 'lead' and l.leadid = b.dynamics_id;

insert into reconcile.planned_changes
select
    o.operation_id,
    w.field,
    case when w.system = 'marketo' then w.marketo_shown else w.dynamics_shown end,
    case when w.system = 'marketo' then w.dynamics_shown else w.marketo_shown end,
    w.value,
    w.value,
    w.rule
from planned_writes w
join reconcile.operations o using (system, action, record_type, dynamics_id);

insert into reconcile.planned_collisions
select
    o.operation_id, w.field, w.base_shown, w.dynamics_shown, w.marketo_shown,
    case when w.outcome = 'collision_dynamics_wins' then 'dynamics' else 'marketo' end,
    w.rule
from planned_writes w
join reconcile.operations o using (system, action, record_type, dynamics_id)
where w.outcome in ('collision_dynamics_wins', 'collision_marketo_wins');
