-- qualified_leads: finds the contacts that take over the person of the lead they were made of (R96): the person keeps its Marketo
-- id and history, and is the contact's from now on. Of several contacts of one lead the oldest does. A contact that has a person
-- already takes over nobody: that is a merge of two people (R97). Nor is the stale person of a lead taken over that the filter
-- keeps out (R95).
--
-- reads    conversions, awaiting_lead, taken_over, state.links, state.bearers, state.unread, state.unread_bearers, state.requested,
--          state.adoption, state.filtered_out, mirror.marketo_people
-- makes    people_of_leads: one row per lead that became a contact, and its living person, by link or by key (R16)
--          contacts_with_person: one row per contact that a lead became, and that has a living person
--          qualified: one row per person taken over; `was_linked` to the lead
-- changes  nothing
create temp table people_of_leads as
with people as (
    select dynamics_id as lead_id, person_id, true as was_linked
    from state.links
    where record_type = 'lead' and dynamics_id in (select lead_id from conversions)
    union all
    select dynamics_id, person_id, false
    from state.bearers
    where record_type = 'lead' and dynamics_id in (select lead_id from conversions)
      and person_id not in (select person_id from state.links)
)
select p.lead_id, p.person_id, p.was_linked
from people p
join mirror.marketo_people m on m.person_id = p.person_id and not m.is_deleted
anti join state.filtered_out f on f.record_type = 'lead' and f.dynamics_id = p.lead_id
anti join taken_over t on t.person_id = p.person_id  -- who is the contact's that was merged into it in Marketo (R25)
where p.was_linked or m.dynamics_contact_id is null
qualify row_number() over (partition by p.lead_id order by p.was_linked desc, p.person_id) = 1;

-- One whose person is gone in Marketo has none.
create temp table contacts_with_person as
select l.dynamics_id as contact_id
from state.links l
join mirror.marketo_people m on m.person_id = l.person_id and not m.is_deleted
where l.record_type = 'contact' and l.dynamics_id in (select contact_id from conversions);

create temp table qualified as
with of_leads as (
    select p.person_id, c.lead_id, c.contact_id, p.was_linked
    from conversions c
    join people_of_leads p using (lead_id)
    anti join state.bearers b
        on b.record_type = 'contact' and b.dynamics_id = c.contact_id and b.person_id <> p.person_id
    where c.contact_id not in (select contact_id from contacts_with_person)
      and c.contact_id not in (select contact_id from awaiting_lead)
      -- Whose person is told otherwise.
      and ('contact', c.contact_id) not in (select (record_type, dynamics_id) from state.unread_bearers)
      and ('contact', c.contact_id) not in (select (record_type, key) from state.unread)
      and c.contact_id not in (select dynamics_id from state.requested)
      and ('contact', c.contact_id) not in (
          select (record_type, dynamics_id) from state.adoption where decision = 'link'
      )
    qualify row_number() over (partition by c.lead_id order by c.createdon, c.contact_id) = 1
)
from of_leads
qualify row_number() over (partition by contact_id order by lead_id) = 1;
