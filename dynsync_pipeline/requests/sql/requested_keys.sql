-- requested_keys: what the people of new links are to bear: the key, type and creation date of their record, no key of a former one,
-- and no flag (R83). Where a write has an unknown outcome the next cycle finds that out first, before the person is read again.
--
-- reads    pending_requests, state.links, mirror.marketo_people, mirror.person_records, reconcile.own_fields,
--          reconcile.operations, reconcile.receipts
-- makes    requested_keys: one row per request whose person is linked to its record; `keys` is the person as JSON
-- changes  nothing
create temp table requested_keys as
with uncertain as (
    select record_type, dynamics_id, person_id
    from reconcile.operations
    where sent_at is not null and operation_id not in (select operation_id from reconcile.receipts)
)
select
    q.request_id, q.person_id,
    '{"id": ' || q.person_id || ', '
        || to_json(case when q.record_type = 'contact' then o.contact_id else o.lead_id end)::varchar || ': '
        || to_json(q.request_id)::varchar || ', '
        || case
            when q.record_type = 'contact' and p.dynamics_lead_id is not null then to_json(o.lead_id)::varchar || ': null, '
            when q.record_type = 'lead' and p.dynamics_contact_id is not null then to_json(o.contact_id)::varchar || ': null, '
            else ''
        end
        || to_json(o.person_type)::varchar || ': ' || case when q.record_type = 'contact' then '"Contact", ' else '"Lead", ' end
        || to_json(o.is_deleted)::varchar || ': false, '
        || to_json(o.created_on)::varchar || ': ' || json_text(r.createdon, 'datetime') || '}' as keys
from pending_requests q
join state.links l on l.person_id = q.person_id and l.dynamics_id = q.request_id
join mirror.person_records r on r.record_type = q.record_type and r.dynamics_id = q.request_id
join mirror.marketo_people p on p.person_id = q.person_id
cross join reconcile.own_fields o
where q.person_id not in (select person_id from uncertain where person_id is not null)
  and q.request_id not in (select dynamics_id from uncertain);
