-- conversions: finds which leads became which contacts, of all that this cycle looks at: Qualify makes a contact of a lead, or
-- turns it into one that is there (R95, R97). Tables are read one by one, with no common moment: a contact whose lead could not
-- be read is left alone until it was.
--
-- reads    this_cycle, inbox.touched, state.links, state.unsettled, state.suspects, state.unread, state.requested, state.adoption,
--          state.filtered_out, state.tombstones,
--          mirror.conversions, mirror.merged_records, mirror.person_records, mirror.dynamics_leads
-- makes    near_records: one row per record that this cycle looks at
--          near_ancestors: one row per near record, and per record that became one by merging or qualifying, over however many steps
--          told_conversions: one row per lead and contact of which the mirror tells that, and of which one is a near ancestor
--          living_conversions: one row per such lead and living contact that it became, or that this one was merged into
--          conversions: the same, but for contacts that are kept out or left alone on purpose
--          awaiting_lead: one row per contact without a person whose lead is not known as it is now; `code` where that is an error
-- changes  inbox.touched
create temp table near_records as
select record_type, dynamics_id from inbox.touched where dynamics_id is not null
union
select record_type, dynamics_id from links_of('inbox.touched')
union
select record_type, dynamics_id from state.unsettled, this_cycle where person_id is null and next_look_at <= planned_at;

create temp table near_ancestors as
with recursive became as (
    select record_type, dynamics_id, record_type as later_type, master_id as later_id from mirror.merged_records
    union all
    select 'lead', lead_id, 'contact', contact_id from mirror.conversions
),
ancestors as (
    from near_records
    union
    select b.record_type, b.dynamics_id
    from ancestors a
    join became b on b.later_type = a.record_type and b.later_id = a.dynamics_id
)
from ancestors;

create temp table told_conversions as
select * from mirror.conversions where contact_id in (select dynamics_id from near_ancestors where record_type = 'contact')
union
select * from mirror.conversions where lead_id in (select dynamics_id from near_ancestors where record_type = 'lead');

create temp table living_conversions as
-- A contact that lost a merge since is the one that it was merged into.
with recursive heirs as (
    select lead_id, contact_id from told_conversions
    union
    select h.lead_id, m.master_id
    from heirs h
    join mirror.merged_records m on m.record_type = 'contact' and m.dynamics_id = h.contact_id
)
select distinct p.lead_id, p.contact_id, r.createdon
from told_conversions t
join heirs p using (lead_id)
join mirror.person_records r on r.record_type = 'contact' and r.dynamics_id = p.contact_id and not r.is_deleted;

-- Of a contact that is kept out, or left alone on purpose, the lead stays what it is (R95).
create temp table conversions as
select c.*
from living_conversions c
anti join state.filtered_out f on f.record_type = 'contact' and f.dynamics_id = c.contact_id
anti join state.adoption a on a.record_type = 'contact' and a.dynamics_id = c.contact_id and a.decision = 'skip';

create temp table awaiting_lead as
select
    c.contact_id, min(c.lead_id) as lead_id,
    -- One whose person asked for it is linked with its request (R71).
    case when bool_or(q.dynamics_id is null) then 'lead_unread' end as code
from conversions c
left join mirror.dynamics_leads l on l.leadid = c.lead_id
-- One that is shown as qualified was read after its contact was made.
left join state.suspects s
    on s.record_type = 'lead' and s.suspect_id = c.lead_id and not l.is_deleted and l.statecode is distinct from '1'
left join state.unread u on u.record_type = 'lead' and u.key = c.lead_id
left join state.requested q
    on q.dynamics_id = c.lead_id and ('lead', c.lead_id) not in (select (record_type, dynamics_id) from state.links)
where ('contact', c.contact_id) not in (select (record_type, dynamics_id) from state.links)
  and (l.leadid is null or s.suspect_id is not null or u.key is not null or q.dynamics_id is not null)
group by c.contact_id;

-- Whoever waited for a lead is looked at as soon as it is known.
insert into inbox.touched (record_type, dynamics_id, is_receipt)
select distinct 'contact', contact_id, false
from conversions
where contact_id not in (select contact_id from awaiting_lead)
  and ('contact', contact_id) in (
      select (record_type, dynamics_id) from state.unsettled where person_id is null and code = 'lead_unread'
  );

-- Of a qualified lead whose contact is gone, an edit that nobody got counts, also one that was made before (R81).
insert into inbox.touched (record_type, dynamics_id, is_receipt)
select distinct 'lead', lead_id, false
from told_conversions
where lead_id not in (select lead_id from living_conversions)
  and ('lead', lead_id) in (select (record_type, dynamics_id) from state.tombstones where side = 'qualified');
