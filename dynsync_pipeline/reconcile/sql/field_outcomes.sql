-- field_outcomes: settles each differing field. This is the collision rule. Null is a value like any other (R46, R48, R50).
-- No clock takes part (R41), but where the field map says newest: a side has an update when its value differs from what it held
-- when the two last settled, which is the base (R37), or its half of a standing difference. What waits for somebody's word is no
-- settled difference: its sides stay edited until the word, or an edit back to the base.
--
-- reads    differing_fields, overwritten_fields, this_cycle, ledger.changes, state.standing_differences, state.unsettled,
--          state.columns, state.user_zone, state.option_maps, state.dynamics_edits, state.marketo_edits, state.reviews, state.approvals
-- makes    decided_fields: one row per differing link and field, and per edit that was overwritten unseen, with its outcome
--          field_outcomes: one row per differing link and field, with its outcome
--          overwritten_outcomes: one row per edit that was overwritten unseen, with its outcome; `is_to_stand` where it did not lose
-- changes  nothing
create temp table decided_fields as
-- Two systems that each put their own value back would write for ever, so what is as regular as machines are is set aside for
-- two hours: the last six writes of a field went to and fro between the same two values, at near-constant short gaps. People
-- click a checkbox to and fro as well, but not by the clock; another value than the two travels at once
-- (docs/design.md#lossy-round-trips).
with writes as (
    select
        person_id, field, direction, new_value, changed_at, planned_at,
        row_number() over latest as place,
        date_diff('second', lead(changed_at) over latest, changed_at) as gap_s,
        lead(direction) over latest as direction_before
    from ledger.changes, this_cycle
    where changed_at > planned_at - interval 4 hour and person_id in (select person_id from differing_fields)
    window latest as (partition by person_id, field order by entry_id desc)
),
oscillating as (
    select
        person_id, field, max(changed_at) + interval 2 hour as ends_at,
        max(new_value) filter (where place = 2) as value_before
    from writes
    where place <= 6
    group by person_id, field
    having count(*) = 6 and count(distinct coalesce(new_value, '')) = 2
       and bool_and(direction <> direction_before) filter (where place < 6)
       and max(gap_s) filter (where place < 6) <= 20 * 60
       and max(gap_s) filter (where place < 6) <= 1.5 * min(gap_s) filter (where place < 6)
       and max(changed_at) > max(planned_at) - interval 2 hour
),
fields as (
    select *, false as is_overwritten, false as is_carried_over from differing_fields
    union all
    select
        person_id, record_type, dynamics_id, field, dynamics_column, type, direction, collision, forbids, has_base,
        base_value, dynamics_value, marketo_value, is_relabelled, true, is_carried_over
    from overwritten_fields
),
-- When Marketo's feed told the value that stands there.
told as (
    select person_id, field, value, max(told_at) as told_at from state.marketo_edits group by all
),
settled as (
    select
        f.* exclude (collision),
        -- What came back from a backup and differs is for somebody to decide, whatever the field map says, until a side is edited.
        coalesce(
            s.reason_code = 'restored' and f.direction = 'both'
                and s.dynamics_value is not distinct from f.dynamics_value
                and s.marketo_value is not distinct from f.marketo_value,
            false
        ) as is_restored,
        case when is_restored then 'review' else f.collision end as collision,
        is_restored or coalesce(s.reason_code = 'in_review', false) as was_in_review,
        was_in_review
            and s.dynamics_value is not distinct from f.dynamics_value
            and s.marketo_value is not distinct from f.marketo_value as is_in_review,
        case when s.person_id is null or was_in_review then f.base_value else s.dynamics_value end as settled_dynamics_value,
        case when s.person_id is null or was_in_review then f.base_value else s.marketo_value end as settled_marketo_value,
        case when r.dynamics_value is not distinct from f.dynamics_value and r.marketo_value is not distinct from f.marketo_value
             then r.choice end as choice,
        -- Which side was edited later, where that is known: Dynamics tells no time per field, so it was between two sightings.
        case
            when t.told_at + clocks_apart > e.until_at + interval 60 second then 'marketo'
            when t.told_at + clocks_apart < e.after_at - interval 60 second then 'dynamics'
        end as later,
        -- Marketo reads a boolean that nobody ever set as false, so at a first meeting false is no evidence either.
        f.dynamics_value is null or (f.type = 'boolean' and f.dynamics_value = 'false') as is_dynamics_blank,
        f.marketo_value is null or (f.type = 'boolean' and f.marketo_value = 'false') as is_marketo_blank,
        -- Decided before and not done yet: a write that was cut or refused.
        w.person_id is not null
            and w.dynamics_value is not distinct from f.dynamics_value
            and w.marketo_value is not distinct from f.marketo_value as is_pending,
        case when is_pending then w.attempts else 0 end as attempts,
        case when is_pending then w.since end as pending_since,
        is_pending and w.next_look_at > this_cycle.planned_at as is_waiting,  -- and nobody has edited it since (R116)
        is_pending and not is_first_load and w.reason_code <> 'waiting_for_approval' as was_let_through,
        is_pending and w.reason_code = 'waiting_for_approval' and a.approved_at is null as was_asked,
        case when is_pending and a.approved_at is not null then a.direction end as approved_direction,
        a.new_value as approved_value,
        ask_above,
        case s.reason_code when 'kept_by_dynamics' then 'dynamics' when 'kept_by_marketo' then 'marketo' end as kept_by,
        s.reason_code is not distinct from 'undo' as was_undone,
        x.ends_at as oscillates_until
    from fields f
    cross join this_cycle
    left join state.standing_differences s on s.person_id = f.person_id and s.field = f.field and not f.is_overwritten
    left join state.unsettled w on w.person_id = f.person_id and w.field = f.field and not f.is_overwritten
    left join state.reviews r on r.person_id = f.person_id and r.field = f.field and not f.is_overwritten
    left join state.approvals a on a.person_id = f.person_id and a.field = f.field and not f.is_overwritten
    left join state.dynamics_edits e
        on f.collision = 'newest' and e.record_type = f.record_type and e.dynamics_id = f.dynamics_id and e.field = f.field
    left join told t on f.collision = 'newest' and t.person_id = f.person_id and t.field = f.field
        and t.value is not distinct from f.marketo_value
    left join oscillating x on x.person_id = f.person_id and x.field = f.field and not f.is_overwritten
        and (f.type in ('choice', 'choices')  -- of which the ledger has the label
             or f.dynamics_value is not distinct from x.value_before or f.marketo_value is not distinct from x.value_before)
),
updates as (
    select
        *,
        has_base and (is_in_review or is_carried_over or dynamics_value is distinct from settled_dynamics_value)
            as is_dynamics_update,
        has_base and (is_in_review or is_overwritten or marketo_value is distinct from settled_marketo_value)
            as is_marketo_update,
        kept_by is not null and not is_dynamics_update and not is_marketo_update as is_kept,
        was_undone and not is_dynamics_update and not is_marketo_update as is_undone,
        collision = 'never_clear' and is_dynamics_update <> is_marketo_update
            and case when is_dynamics_update then dynamics_value else marketo_value end is null as is_clear_on_one_side
    from settled
),
records as (
    select
        *,
        bool_or(is_dynamics_update and not is_overwritten and not is_restored) over (partition by person_id) as is_record_updated_in_dynamics,
        bool_or(is_marketo_update and not is_overwritten and not is_restored) over (partition by person_id) as is_record_updated_in_marketo
    from updates
),
decisions as (
    select
        *,
        case
            when dynamics_value is not distinct from marketo_value and not is_relabelled then 'agree'              -- R38
            when is_waiting then 'wait'                                                                            -- R116
            when dynamics_value is not distinct from marketo_value then 'take_dynamics'                            -- R33
            when is_undone then 'stand'  -- also where another field of its record moves (R43)
            when is_kept and not is_pending then 'stand'                                                           -- R31
            when is_kept and kept_by = 'marketo' then 'take_dynamics'                                              -- R104
            when is_kept then 'take_marketo'                                                                       -- R104
            when direction = 'to_marketo' and is_pending then 'take_dynamics'                                      -- R43, R100
            when direction = 'to_marketo' and has_base and is_record_updated_in_dynamics then 'take_dynamics'      -- R43
            when direction = 'to_marketo' and not has_base and not is_dynamics_blank then 'take_dynamics'          -- R43
            when direction = 'to_marketo' then 'stand'
            when direction = 'to_dynamics' and is_pending then 'take_marketo'                                      -- R44, R104
            when direction = 'to_dynamics' and has_base and is_record_updated_in_marketo then 'take_marketo'       -- R44
            when direction = 'to_dynamics' and not has_base and not is_marketo_blank then 'take_marketo'           -- R44
            when direction = 'to_dynamics' then 'stand'
            when not has_base and is_dynamics_blank and dynamics_value = forbids then 'collision_dynamics_wins'    -- R132
            when not has_base and is_marketo_blank and marketo_value = forbids then 'collision_marketo_wins'       -- R132
            when not has_base and is_dynamics_blank and not was_in_review then 'take_marketo'                      -- R42
            when not has_base and is_marketo_blank and not was_in_review then 'take_dynamics'                      -- R42
            when has_base and not is_dynamics_update and not is_marketo_update then 'stand'
            when is_clear_on_one_side then 'stand'                                                                 -- R48
            when has_base and not is_marketo_update then 'take_dynamics'                                           -- R34
            when has_base and not is_dynamics_update then 'take_marketo'                                           -- R34
            when dynamics_value = forbids then 'collision_dynamics_wins'                                           -- R132
            when marketo_value = forbids then 'collision_marketo_wins'                                             -- R132
            when collision = 'never_clear' and dynamics_value is null then 'collision_marketo_wins'                -- R48
            when collision = 'never_clear' and marketo_value is null then 'collision_dynamics_wins'                -- R48
            when collision = 'review' and choice = 'dynamics' then 'collision_dynamics_wins'
            when collision = 'review' and choice = 'marketo' then 'collision_marketo_wins'
            when collision = 'review' then 'stand'
            when collision = 'dynamics' then 'collision_dynamics_wins'
            when collision = 'marketo' then 'collision_marketo_wins'
            when collision = 'newest' and later = 'dynamics' then 'collision_dynamics_wins'
            when collision = 'newest' and later = 'marketo' then 'collision_marketo_wins'
            when record_type = 'lead' then 'collision_marketo_wins'                                                -- R35, R36
            else 'collision_dynamics_wins'                                                                         -- R35
        end as decision
    from records
),
-- What the column that it would be written to is known to refuse waits alone, and is not sent (R116).
targeted as (
    select
        d.*, c.held, z.zone,
        case when d.is_for_dynamics then d.marketo_value else shown_options(d.dynamics_value, d.type, o) end as written_value
    from (
        select
            *, decision in ('collision_dynamics_wins', 'collision_marketo_wins') as is_collision,
            decision in ('take_marketo', 'collision_marketo_wins') as is_for_dynamics,
            decision in ('take_marketo', 'collision_marketo_wins', 'take_dynamics', 'collision_dynamics_wins') as is_written
        from decisions
    ) d
    left join (select k.system, k.record_type, k.name, k as held from state.columns k) c on d.is_written
        and c.system = case when d.is_for_dynamics then 'dynamics' else 'marketo' end
        and c.record_type is not distinct from case when d.is_for_dynamics then d.record_type end
        and c.name = case when d.is_for_dynamics then d.dynamics_column else d.field end
    left join state.user_zone z on true
    left join state.option_maps o
        on d.is_written and o.record_type = d.record_type and o.dynamics_column = d.dynamics_column
),
-- A macro repeats what it is given as often as it names it, so value and column have names by now.
refused as (
    select
        *,
        case
            -- A label that Dynamics does not know is a validation failure, not a new option (R33).
            when is_for_dynamics and type in ('choice', 'choices') and starts_with(marketo_value, '?') then 'unknown_option'
            when decision in ('take_marketo', 'take_dynamics') and oscillates_until is not null then 'oscillates'
            when is_written then misfit(written_value, type, held, zone)
        end as refusal_code,
        case when is_for_dynamics then 'to_dynamics' else 'to_marketo' end as written_direction,
        coalesce(approved_direction = written_direction, false)
            and (not is_relabelled or approved_value = written_value) as is_approved
    from targeted
),
-- Where one field would move for more people than may be unasked, none of them gets it until somebody approves. That is not asked
-- of what was let through before, of what somebody decided, or of the value that forbids (R132).
asked as (
    select
        *,
        is_written and not is_overwritten and refusal_code is null and not was_let_through and not is_approved
            and not (is_collision and collision = 'review') and (forbids is null or written_value is distinct from forbids)
            as is_unasked
    from refused
),
-- No window: over few and large parts one takes DuckDB the square of their rows.
decided as (
    select a.*, r.n_reached
    from asked a
    join (
        select record_type, field, written_direction, count(*) filter (where is_unasked and not was_asked) as n_reached
        from asked
        group by all
    ) r on r.record_type = a.record_type and r.field = a.field and r.written_direction = a.written_direction
)
select
    * exclude (
        decision, is_restored, is_collision, is_for_dynamics, is_written, held, written_value, zone, was_let_through, was_asked,
        approved_direction, approved_value, ask_above, is_unasked
    ),
    held.max_length as most_characters, held.minimum as least, held.maximum as most,
    case
        when is_overwritten then decision  -- it stood in Marketo already
        when is_written and refusal_code is not null then 'refuse'
        when is_unasked and (was_asked or n_reached > ask_above) then 'ask'
        else decision
    end as outcome,
    case when is_for_dynamics then 'marketo' else 'dynamics' end as decided_for,
    case
        when decision = 'agree' then 'agreed'
        when dynamics_value is not distinct from marketo_value then 'option_renamed'
        when decision = 'stand' and direction <> 'both' then 'one_way_edited'
        when direction = 'to_marketo' then 'dynamics_owns'
        when direction = 'to_dynamics' then 'marketo_owns'
        when is_kept then 'sent_again'
        when not has_base and decision in ('take_marketo', 'take_dynamics') then 'blank_filled'
        when decision = 'stand' and collision = 'review' and (not has_base or is_dynamics_update and is_marketo_update)
            then 'in_review'
        when decision = 'stand' and is_clear_on_one_side then 'clear_stands'
        when is_collision and choice is not null and collision = 'review' then 'reviewed'
        when is_collision and forbids in (dynamics_value, marketo_value) then 'stricter_wins'
        when is_collision and collision = 'never_clear' and (dynamics_value is null or marketo_value is null)
            then 'value_over_clear'
        when is_collision and collision = 'dynamics' then 'map_dynamics_wins'
        when is_collision and collision = 'marketo' then 'map_marketo_wins'
        when is_collision and collision = 'newest' and later = 'dynamics' then 'newest_dynamics_wins'
        when is_collision and collision = 'newest' and later = 'marketo' then 'newest_marketo_wins'
        when is_collision and collision = 'newest' and record_type = 'lead' then 'newest_unknown_marketo_wins'
        when is_collision and collision = 'newest' then 'newest_unknown_dynamics_wins'
        when not has_base and record_type = 'lead' then 'first_meeting_marketo_wins'
        when not has_base then 'first_meeting_dynamics_wins'
        when decision = 'collision_marketo_wins' then 'marketo_wins'
        when decision = 'collision_dynamics_wins' then 'dynamics_wins'
        else 'one_sided'
    end as rule_code
from decided;

create temp table field_outcomes as select * exclude (is_overwritten) from decided_fields where not is_overwritten;

create temp table overwritten_outcomes as
select *, outcome in ('collision_marketo_wins', 'take_marketo', 'stand') as is_to_stand from decided_fields where is_overwritten;
