-- found_links: links people with the records whose keys they bear, where neither has a link yet (R16). Happens after a lost
-- working file, or when somebody filled the key field by hand. The contact's key counts before the lead's (R25); of several
-- people with one key the oldest is taken, so that the answer never depends on the order of rows. Who bears the creation date as well
-- was linked by the sync before; where a backup was put back that did not know of it, the two have met, and nobody knows their base.
-- Whom an adoption in shadow chose counts as bearing the key.
--
-- reads    this_cycle, mirror.marketo_people, mirror.person_records, inbox.touched, state.links, state.unkeyed_links, state.restored,
--          state.changed_after_backup, reconcile.fields
-- makes    touched_bearers: one row per person who bears a key, where the record was touched, or the person who has no link
--          key_bearers: one row per touched person without a link who bears the key of a living record
--          found_links: one row per new link
--          shared_keys: one row per person who bears the key of a record that is linked to somebody else
--          linked_after_backup: one row per new link that the sync made after the backup that came back
-- changes  state.links, state.outdated_bases, state.changed_after_backup, state.adoption, state.tombstones, state.tombstone_values,
--          state.unpublished, inbox.touched
create temp table touched_bearers as
with bearers as not materialized (
    select person_id, 'contact' as record_type, dynamics_contact_id as dynamics_id
    from mirror.marketo_people
    where dynamics_contact_id is not null and not is_deleted
    union all
    select person_id, 'lead', dynamics_lead_id
    from mirror.marketo_people
    where dynamics_lead_id is not null and dynamics_contact_id is null and not is_deleted
    union all
    select person_id, record_type, dynamics_id from state.unkeyed_links
),
unlinked as (
    select t.person_id from inbox.touched t anti join state.links l on l.person_id = t.person_id where t.person_id is not null
),
records as (
    select record_type, dynamics_id from inbox.touched where dynamics_id is not null
)
select b.* from bearers b semi join unlinked u on u.person_id = b.person_id
union
-- Not joined to all bearers: DuckDB skips the people in whose column none of these ids stands, and does not where it is one of two.
select person_id, 'contact', dynamics_contact_id
from mirror.marketo_people
where dynamics_contact_id in (select dynamics_id from records where record_type = 'contact') and not is_deleted
union
select person_id, 'lead', dynamics_lead_id
from mirror.marketo_people
where dynamics_lead_id in (select dynamics_id from records where record_type = 'lead')
  and dynamics_contact_id is null and not is_deleted
union
select k.person_id, k.record_type, k.dynamics_id from state.unkeyed_links k semi join records using (record_type, dynamics_id);

create temp table key_bearers as
with unlinked as (
    from touched_bearers anti join links_of('touched_bearers') using (person_id)
)
select b.person_id, b.record_type, b.dynamics_id
from unlinked b
join person_records_of('unlinked') r on r.record_type = b.record_type and r.dynamics_id = b.dynamics_id and not r.is_deleted;

create temp table found_links as
select b.person_id, b.record_type, b.dynamics_id
from key_bearers b
anti join state.links l on l.record_type = b.record_type and l.dynamics_id = b.dynamics_id
qualify row_number() over (partition by b.record_type, b.dynamics_id order by b.person_id) = 1;

create temp table shared_keys as
select person_id, record_type, dynamics_id from key_bearers where person_id not in (select person_id from found_links);

insert into state.links (person_id, record_type, dynamics_id, linked_at)
select person_id, record_type, dynamics_id, planned_at from found_links, this_cycle;

create temp table linked_after_backup as
select f.person_id, f.record_type
from found_links f
join mirror.marketo_people m on m.person_id = f.person_id and m.dynamics_created_on is not null
where exists (from state.restored);

update state.adoption a
set decision = 'linked'
from found_links f
where f.record_type = a.record_type and f.dynamics_id = a.dynamics_id;

delete from state.tombstones t using found_links f where f.record_type = t.record_type and f.dynamics_id = t.dynamics_id;
delete from state.tombstone_values t using found_links f where f.record_type = t.record_type and f.dynamics_id = t.dynamics_id;

insert into state.outdated_bases (person_id)
select person_id from linked_after_backup;

insert into state.changed_after_backup (person_id, field)
select person_id, field from linked_after_backup join reconcile.fields using (record_type)
where (person_id, field) not in (select (person_id, field) from state.changed_after_backup);

insert into state.unpublished (published_table, person_id)
select 'people', person_id from found_links;

insert into inbox.touched (person_id, is_receipt)
select person_id, false from found_links;
