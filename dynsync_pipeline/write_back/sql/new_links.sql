-- new_links: links the people who were created. Their base is what Dynamics held, so that nothing looks like an edit (R15).
--
-- reads    reconcile.receipts, reconcile.operations, state.links
-- makes    new_links: one row per person who was created
-- changes  state.links, state.base, state.tombstones, state.tombstone_values
create temp table new_links as
select r.person_id, o.record_type, o.dynamics_id, r.received_at
from reconcile.receipts r
join reconcile.operations o using (operation_id)
where not r.is_settled and o.action = 'create' and r.outcome = 'applied'
  and r.person_id not in (select person_id from state.links)
  and (o.record_type, o.dynamics_id) not in (select (record_type, dynamics_id) from state.links);

insert into state.links (person_id, record_type, dynamics_id, linked_at)
select person_id, record_type, dynamics_id, received_at from new_links;

insert into state.base (person_id)
select person_id from new_links;

delete from state.tombstones t using new_links n where n.record_type = t.record_type and n.dynamics_id = t.dynamics_id;
delete from state.tombstone_values t using new_links n where n.record_type = t.record_type and n.dynamics_id = t.dynamics_id;
