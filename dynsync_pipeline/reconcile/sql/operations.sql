-- operations. Grain: one row per write to one record of one system. The plan: all of it is committed before the first is sent.
delete from reconcile.operations;
delete from reconcile.planned_changes;
delete from reconcile.planned_collisions;
delete from reconcile.receipts;

insert into reconcile.operations
with numbered as (
    select *, row_number() over (order by system, action, record_type, dynamics_id) as operation_id
    from (
        select distinct system, action, record_type, dynamics_id, person_id from planned_writes
        union
        select 'marketo', 'create', record_type, dynamics_id, null from new_people
    )
),
bodies as (
    select
        n.*,
        coalesce(string_agg(', ' || to_json(w.json_name)::varchar || ': ' || w.json_value, '' order by w.json_name), '') as members
    from numbered n
    left join planned_writes w using (system, action, record_type, dynamics_id)
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
    case when b.system = 'dynamics' then coalesce(c.etag, l.etag) end as etag,
    case
        when b.system = 'dynamics' then '{' || ltrim(b.members, ', ') || '}'
        when b.action = 'update' then '{"id": ' || b.person_id || b.members || '}'
        else '{'
            || to_json(case when b.record_type = 'contact' then key_names.contact_id else key_names.lead_id end)::varchar
            || ': ' || to_json(b.dynamics_id)::varchar || ', '
            || to_json(key_names.person_type)::varchar || ': '
            || case when b.record_type = 'contact' then '"Contact", ' else '"Lead", ' end
            || to_json(key_names.is_deleted)::varchar || ': false, '
            || to_json(key_names.created_on)::varchar || ': ' || coalesce(to_json(n.createdon)::varchar, 'null')
            || b.members || '}'
    end as body,
    null as sent_at
from bodies b
cross join this_cycle
cross join key_names
left join new_people n on b.action = 'create' and n.record_type = b.record_type and n.dynamics_id = b.dynamics_id
left join mirror.dynamics_contacts c on b.record_type = 'contact' and c.contactid = b.dynamics_id
left join mirror.dynamics_leads l on b.record_type = 'lead' and l.leadid = b.dynamics_id;

insert into reconcile.planned_changes
select
    o.operation_id,
    w.field,
    case when w.system = 'marketo' then w.marketo_shown else w.dynamics_shown end,
    case when w.system = 'marketo' then w.dynamics_shown else w.marketo_shown end,
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
