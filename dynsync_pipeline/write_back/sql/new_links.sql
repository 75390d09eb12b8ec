-- new_links: links the people who were created. Their base is what Dynamics held, so that nothing looks like an edit (R15).
--
-- reads    reconcile.receipts, reconcile.operations, state.links
-- makes    created_people: one row per applied creation of somebody
--          new_links: one row per person who was created, and is not linked yet
-- changes  state.links, state.base, state.tombstones, state.tombstone_values
create temp table created_people as
select r.person_id, o.record_type, o.dynamics_id, r.received_at
from reconcile.receipts r
join reconcile.operations o using (operation_id)
where not r.is_settled and o.action = 'create' and r.outcome = 'applied' and r.person_id is not null;

create temp table new_links as
from created_people
anti join links_of('created_people') using (person_id)
anti join links_to('created_people') using (record_type, dynamics_id);

insert into state.links (person_id, record_type, dynamics_id, linked_at)
select person_id, record_type, dynamics_id, received_at from new_links;

insert into state.base (person_id)
select person_id from new_links;

delete from state.tombstones t using new_links n where n.record_type = t.record_type and n.dynamics_id = t.dynamics_id;
delete from state.tombstone_values t using new_links n where n.record_type = t.record_type and n.dynamics_id = t.dynamics_id;
