-- field_outcomes: settles each differing field. This is the collision rule. Null is a value like any other (R46, R48, R50).
-- No clock takes part (R41): a side has an update when its value differs from what it held when the two last settled, which
-- is the base (R37), or its half of a standing difference.
--
-- reads    differing_fields, this_cycle, ledger.changes, state.standing_differences, state.unsettled, state.columns, state.user_zone,
--          state.option_maps
-- makes    field_outcomes: one row per differing link and field, with its outcome
-- changes  nothing
create temp table field_outcomes as
-- Two systems that each put their own value back would write for ever, so what is as regular as machines are is set aside for
-- two hours: the last six writes of a field went to and fro between the same two values, at near-constant short gaps. People
-- click a checkbox to and fro as well, but not by the clock; another value than the two travels at once
-- (docs/design.md#lossy-round-trips).
with writes as (
    select
        person_id, field, direction, new_value, changed_at,
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
        any_value(new_value) filter (where place = 2) as value_before
    from writes
    where place <= 6
    group by person_id, field
    having count(*) = 6 and count(distinct coalesce(new_value, '')) = 2
       and bool_and(direction <> direction_before) filter (where place < 6)
       and max(gap_s) filter (where place < 6) <= 20 * 60
       and max(gap_s) filter (where place < 6) <= 1.5 * min(gap_s) filter (where place < 6)
       and max(changed_at) > any_value((select planned_at from this_cycle)) - interval 2 hour
),
settled as (
    select
        f.*,
        case when s.person_id is null then f.base_value else s.dynamics_value end as settled_dynamics_value,
        case when s.person_id is null then f.base_value else s.marketo_value end as settled_marketo_value,
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
        case s.reason_code when 'kept_by_dynamics' then 'dynamics' when 'kept_by_marketo' then 'marketo' end as kept_by,
        x.ends_at as oscillates_until
    from differing_fields f
    cross join this_cycle
    left join state.standing_differences s on s.person_id = f.person_id and s.field = f.field
    left join state.unsettled w on w.person_id = f.person_id and w.field = f.field
    left join oscillating x on x.person_id = f.person_id and x.field = f.field
        and (f.type in ('choice', 'choices')  -- of which the ledger has the label
             or f.dynamics_value is not distinct from x.value_before or f.marketo_value is not distinct from x.value_before)
),
updates as (
    select
        *,
        has_base and dynamics_value is distinct from settled_dynamics_value as is_dynamics_update,
        has_base and marketo_value is distinct from settled_marketo_value as is_marketo_update,
        kept_by is not null and not is_dynamics_update and not is_marketo_update as is_kept
    from settled
),
records as (
    select
        *,
        bool_or(is_dynamics_update) over (partition by person_id) as is_record_updated_in_dynamics,
        bool_or(is_marketo_update) over (partition by person_id) as is_record_updated_in_marketo
    from updates
),
decisions as (
    select
        *,
        case
            when dynamics_value is not distinct from marketo_value and not is_relabelled then 'agree'              -- R38
            when is_waiting then 'wait'                                                                            -- R116
            when dynamics_value is not distinct from marketo_value then 'take_dynamics'                            -- R33
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
            when not has_base and is_dynamics_blank then 'take_marketo'                                            -- R42
            when not has_base and is_marketo_blank then 'take_dynamics'                                            -- R42
            when has_base and not is_dynamics_update and not is_marketo_update then 'stand'
            when has_base and not is_marketo_update then 'take_dynamics'                                           -- R34
            when has_base and not is_dynamics_update then 'take_marketo'                                           -- R34
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
        select *, decision in ('take_marketo', 'collision_marketo_wins') as is_for_dynamics,
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
decided as (
    select *, misfit(written_value, type, held, zone) as misfit_code from targeted
)
select
    * exclude (decision, is_for_dynamics, is_written, misfit_code, held, written_value, zone),
    held.max_length as most_characters, held.minimum as least, held.maximum as most,
    case
        -- A label that Dynamics does not know is a validation failure, not a new option (R33).
        when decision in ('take_marketo', 'collision_marketo_wins') and type in ('choice', 'choices')
            and starts_with(marketo_value, '?') then 'refuse'
        when decision in ('take_marketo', 'take_dynamics') and oscillates_until is not null then 'refuse'
        when is_written and misfit_code is not null then 'refuse'
        else decision
    end as outcome,
    case
        when is_for_dynamics and type in ('choice', 'choices') and starts_with(marketo_value, '?') then 'unknown_option'
        when decision in ('take_marketo', 'take_dynamics') and oscillates_until is not null then 'oscillates'
        else misfit_code
    end as refusal_code,
    case when is_for_dynamics then 'marketo' else 'dynamics' end as decided_for,
    case
        when decision = 'agree' then 'agreed'
        when dynamics_value is not distinct from marketo_value then 'option_renamed'
        when decision = 'stand' and direction <> 'both' then 'one_way_edited'
        when direction = 'to_marketo' then 'dynamics_owns'
        when direction = 'to_dynamics' then 'marketo_owns'
        when is_kept then 'sent_again'
        when not has_base and decision in ('take_marketo', 'take_dynamics') then 'blank_filled'
        when not has_base and record_type = 'lead' then 'first_meeting_marketo_wins'
        when not has_base then 'first_meeting_dynamics_wins'
        when decision = 'collision_marketo_wins' then 'marketo_wins'
        when decision = 'collision_dynamics_wins' then 'dynamics_wins'
        else 'one_sided'
    end as rule_code
from decided;
