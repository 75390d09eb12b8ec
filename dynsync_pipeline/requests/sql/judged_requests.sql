-- judged_requests: decides what becomes of the requests whose people were read. Who bears the key of a living record is left alone
-- (R73), and who bears one of a record that nobody has seen waits for the next cycle; whose person lacks what Dynamics calls
-- required is refused, with the field; whose record was deleted in Dynamics gets a new one like anybody (R82). A contact gets no
-- account (R74). A value that its column cannot hold stays out of the new record, and the next plan reports it as of any link (R116).
--
-- reads    pending_requests, requesting_people, this_serving, state.unread, state.tombstones, state.columns, state.option_maps,
--          state.user_zone, mirror.marketo_people, mirror.person_records, reconcile.fields
-- makes    request_values: one row per request and field that has a value in Marketo for Dynamics
--          judged_requests: one row per request; `body` is the new record as JSON
-- changes  nothing
create temp table request_values as
with known as (
    select
        q.request_id, q.person_id, f.field, f.dynamics_column, f.type, h.value as shown, c as held,
        case
            when f.type = 'decimal' then rounded(h.value, c.precision)
            else meant_options(h.value, f.type, o)
        end as value
    from pending_requests q
    join long_of('requesting_people') h on h.person_id = q.person_id
    join reconcile.fields f on f.record_type = q.record_type and f.field = h.field and f.direction <> 'to_marketo'
    left join state.columns c on c.system = 'dynamics' and c.record_type = q.record_type and c.name = f.dynamics_column
    left join state.option_maps o on o.record_type = q.record_type and o.dynamics_column = f.dynamics_column
    where q.is_fresh
)
select
    k.* exclude (held),
    case
        when k.type = 'choice' then json_text(k.value, 'integer')
        else json_text(kept_time(k.value, k.type, k.held.time_behavior, z.zone), k.type)
    end as json_value
from known k
left join state.user_zone z on true
where k.value is not null and misfit(k.value, k.type, k.held, z.zone) is null;

create temp table judged_requests as
with lacking as (
    select q.request_id, min(f.field) as field
    from pending_requests q
    join reconcile.fields f on f.record_type = q.record_type and f.direction <> 'to_marketo'
    join state.columns c on c.system = 'dynamics' and c.record_type = q.record_type and c.name = f.dynamics_column
    where c.is_business_required and (q.request_id, f.field) not in (select (request_id, field) from request_values)
    group by q.request_id
),
members as (
    select request_id, string_agg(', ' || to_json(dynamics_column)::varchar || ': ' || json_value, '' order by dynamics_column) as members
    from request_values
    group by request_id
),
people as (
    select person_id, unnest([dynamics_contact_id, dynamics_lead_id]) as dynamics_id
    from mirror.marketo_people
    where person_id in (select person_id from pending_requests where is_fresh)
),
borne as (
    select p.person_id, coalesce(bool_or(not r.is_deleted), false) as is_living, bool_or(r.dynamics_id is null) as is_unseen
    from people p
    left join (
        select dynamics_id, is_deleted from mirror.person_records where dynamics_id in (select dynamics_id from people)
        union all
        select dynamics_id, true from state.tombstones where dynamics_id in (select dynamics_id from people)
    ) r on r.dynamics_id = p.dynamics_id
    where p.dynamics_id is not null
    group by p.person_id
)
select
    q.request_id,
    case
        when u.person_id is not null then 'unread'
        when a.person_id is null then 'person_missing'
        when b.is_living then 'already_in_sync'
        when b.is_unseen and not t.is_in_cycle then 'unseen_key'
        when x.field is not null then 'required'
        else 'ready'
    end as verdict,
    x.field,
    '{' || ltrim(
        coalesce(m.members, '')
            || case when q.owner_id is null then '' else ', "ownerid@odata.bind": "/systemusers(' || q.owner_id || ')"' end,
        ', '
    ) || '}' as body
from pending_requests q
cross join this_serving t
left join requesting_people a on a.person_id = q.person_id
left join (select key::bigint as person_id from state.unread where record_type = 'person' and has_id) u on u.person_id = q.person_id
left join borne b on b.person_id = q.person_id
left join lacking x on x.request_id = q.request_id
left join members m on m.request_id = q.request_id
where q.is_fresh;
