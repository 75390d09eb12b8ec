-- after_shadow: begins to write where the cycles before ran in shadow. What these would have written rested and is due now. What
-- the native sync left unequal is an edit or a first meeting again, as it was. Whoever bears the key by now is linked by it.
--
-- reads    this_cycle, ledger.cycles, inbox.touched, mirror.marketo_people, state.standing_differences,
--          state.base_missing
-- makes    ended_shadow: no or one row: the last whole cycle, where that was in shadow and this one is not
--          left_in_shadow: one row per field that the native sync left unequal, from then on
-- changes  state.unsettled, state.base_missing, state.standing_differences, state.unkeyed_links, inbox.touched
create temp table ended_shadow as
select cycle_id
from ledger.cycles
where cycle_id = (select max(cycle_id) from ledger.cycles where is_whole) and is_shadow
  and not exists (from ledger.cycles c join this_cycle t on t.cycle_id = c.cycle_id where c.is_shadow);

create temp table left_in_shadow as
select person_id, field, reason_code
from state.standing_differences
where exists (from ended_shadow) and reason_code in ('left_by_native', 'left_at_first_meeting', 'kept_by_native');

update state.unsettled set next_look_at = planned_at
from this_cycle
where exists (from ended_shadow) and reason_code = 'planned';

insert into state.base_missing (person_id, field)
select person_id, field from left_in_shadow
where reason_code = 'left_at_first_meeting' and (person_id, field) not in (select (person_id, field) from state.base_missing);

insert into inbox.touched (person_id, is_receipt)
select distinct person_id, false from left_in_shadow;

delete from state.standing_differences s using left_in_shadow f where f.person_id = s.person_id and f.field = s.field;

delete from state.unkeyed_links u
using mirror.marketo_people m, inbox.touched t
where t.person_id = u.person_id and m.person_id = u.person_id
  and case when u.record_type = 'contact' then m.dynamics_contact_id else m.dynamics_lead_id end is not null;
