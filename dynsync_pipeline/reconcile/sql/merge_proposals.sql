-- merge_proposals: proposes to merge two people whose records are one in Dynamics: the record of one lost a merge (R99), or was a
-- lead that was qualified onto the contact of the other (R97). Merging people in Marketo cannot be undone, so it happens on
-- somebody's word alone (write_back/merging.py). A proposal whose reason went away is withdrawn.
--
-- reads    this_cycle, near_records, near_ancestors, conversions, inbox.touched, state.links, state.tombstones, state.filtered_out,
--          mirror.merged_records, mirror.marketo_people, ledger.merge_proposals
-- makes    near_merges: one row per merged record that this cycle looks at, or whose heir it does, over however many steps
--          lost_records: one row per such record and record that it was merged into, over however many merges
--          same_people: one row per two living people who are one by their records
--          concerned_proposals: one row per open proposal of a person or record that this cycle looks at
--          ended_proposals: one row per such proposal that is done or has no reason any more, with its `state`
-- changes  ledger.merge_proposals
create temp table near_merges as
select * from mirror.merged_records where (record_type, dynamics_id) in (select (record_type, dynamics_id) from near_ancestors);

create temp table lost_records as
with recursive lost as (
    from near_merges
    union
    select l.record_type, l.dynamics_id, m.master_id
    from lost l
    join mirror.merged_records m on m.record_type = l.record_type and m.dynamics_id = l.master_id
)
select distinct l.record_type, l.dynamics_id, l.master_id
from near_merges n
join lost l using (record_type, dynamics_id);

create temp table same_people as
with pairs as (
    select
        'merged_in_dynamics' as cause_code, w.person_id as winner_person_id, w.record_type as winner_record_type,
        w.dynamics_id as winner_dynamics_id, t.person_id as loser_person_id, t.record_type as loser_record_type,
        t.dynamics_id as loser_dynamics_id
    from lost_records r
    join state.links w on w.record_type = r.record_type and w.dynamics_id = r.master_id
    join state.tombstones t on t.side = 'dynamics' and t.record_type = r.record_type and t.dynamics_id = r.dynamics_id
    where t.person_id not in (select person_id from state.links)
    union all
    -- Merged into a lead that was qualified since.
    select
        'merged_in_dynamics', w.person_id, w.record_type, w.dynamics_id, t.person_id, t.record_type, t.dynamics_id
    from lost_records r
    join conversions v on r.record_type = 'lead' and v.lead_id = r.master_id
    join state.links w on w.record_type = 'contact' and w.dynamics_id = v.contact_id
    join state.tombstones t on t.side = 'dynamics' and t.record_type = r.record_type and t.dynamics_id = r.dynamics_id
    where t.person_id not in (select person_id from state.links)
    union all
    select
        'qualified', c.person_id, c.record_type, c.dynamics_id, l.person_id, l.record_type, l.dynamics_id
    from conversions v
    join state.links c on c.record_type = 'contact' and c.dynamics_id = v.contact_id
    join state.links l on l.record_type = 'lead' and l.dynamics_id = v.lead_id
)
select p.*
from pairs p
join mirror.marketo_people w on w.person_id = p.winner_person_id and not w.is_deleted
join mirror.marketo_people l on l.person_id = p.loser_person_id and not l.is_deleted
anti join state.filtered_out f on f.record_type = p.winner_record_type and f.dynamics_id = p.winner_dynamics_id  -- R98
where p.winner_person_id <> p.loser_person_id
qualify row_number() over (partition by p.loser_person_id order by p.winner_person_id) = 1;

create temp table concerned_proposals as
select *
from ledger.merge_proposals
where state in ('open', 'sent')
  and (winner_person_id in (select person_id from inbox.touched) or loser_person_id in (select person_id from inbox.touched)
       or (winner_record_type, winner_dynamics_id) in (select (record_type, dynamics_id) from near_records)
       or (loser_record_type, loser_dynamics_id) in (select (record_type, dynamics_id) from near_records));

-- Whose people were merged, by whomever, and who are not one any more, or are kept out by now (R98).
create temp table ended_proposals as
select
    c.proposal_id,
    case
        when m.is_deleted then 'merged'
        when (c.loser_person_id, c.winner_record_type, c.winner_dynamics_id) in (
            select (person_id, record_type, dynamics_id) from state.links
        ) then 'merged'  -- the other way round
        else 'withdrawn'
    end as state
from concerned_proposals c
left join mirror.marketo_people m on m.person_id = c.loser_person_id
where m.is_deleted
   or (c.winner_person_id, c.winner_record_type, c.winner_dynamics_id) not in (
       select (person_id, record_type, dynamics_id) from state.links
   )
   or (c.winner_record_type, c.winner_dynamics_id) in (select (record_type, dynamics_id) from state.filtered_out)
   or case c.cause_code
       when 'qualified' then
           (c.loser_person_id, 'lead', c.loser_dynamics_id) not in (select (person_id, record_type, dynamics_id) from state.links)
           or (('lead', c.loser_dynamics_id) in (select (record_type, dynamics_id) from near_records)
               and (c.loser_dynamics_id, c.winner_dynamics_id) not in (select (lead_id, contact_id) from conversions))
       else
           (c.loser_person_id, c.loser_record_type, c.loser_dynamics_id) not in (
               select (person_id, record_type, dynamics_id) from state.tombstones
           )
           or c.loser_person_id in (select person_id from state.links)
   end;

update ledger.merge_proposals p
set state = e.state, ended_at = planned_at
from ended_proposals e, this_cycle
where e.proposal_id = p.proposal_id;

insert into ledger.merge_proposals
    (proposal_id, cycle_id, seen_at, cause_code, winner_person_id, winner_record_type, winner_dynamics_id, loser_person_id,
     loser_record_type, loser_dynamics_id, state)
select
    nextval('ledger.entries'), cycle_id, planned_at, cause_code, winner_person_id, winner_record_type, winner_dynamics_id,
    loser_person_id, loser_record_type, loser_dynamics_id, 'open'
from (from same_people order by winner_person_id, loser_person_id) s, this_cycle
where not exists (
    from ledger.merge_proposals p
    where p.state in ('open', 'sent') and p.winner_person_id = s.winner_person_id and p.loser_person_id = s.loser_person_id
);
