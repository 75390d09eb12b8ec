-- overwritten_fields: lists edits in Marketo that fell between our read and our write, and that our write overwrote, beside
-- what they met: they are decided by the collision rule like any others (R35). Not those whose record is gone since, or rests (R92).
--
-- reads    state.unseen_edits, state.links, state.filtered_out, state.option_maps, ledger.changes, reconcile.fields
-- makes    overwritten_fields: one row per such edit, in the columns of differing_fields; the base is what the write was to
--              replace, Dynamics' value what it wrote, and `is_carried_over` says that this was somebody's edit there
-- changes  nothing
create temp table overwritten_fields as
with found as (
    select
        l.person_id, l.record_type, l.dynamics_id, u.field, f.dynamics_column, f.type, f.direction, f.collision, f.forbids,
        c.rule_code <> 'undo' as is_carried_over, c.old_value, u.value, o as options,
        -- What somebody undid was put back in Marketo alone.
        case when is_carried_over then c.new_value else c.old_value end as value_in_dynamics
    from state.unseen_edits u
    join state.links l using (person_id)
    join ledger.changes c on c.entry_id = u.change_id
    join reconcile.fields f
        on f.record_type = l.record_type and f.field = u.field and f.direction = 'both' and not f.is_on_company
    anti join state.filtered_out k on k.record_type = l.record_type and k.dynamics_id = l.dynamics_id
    left join state.option_maps o on o.record_type = l.record_type and o.dynamics_column = f.dynamics_column
),
compared as (
    select
        * exclude (old_value, value_in_dynamics, value),
        compared_options(old_value, type, options) as base_text,
        compared_options(value_in_dynamics, type, options) as dynamics_text,
        compared_options(value, type, options) as marketo_text
    from found
)
select
    person_id, record_type, dynamics_id, field, dynamics_column, type, direction, collision, forbids, true as has_base,
    case type when 'boolean' then coalesce(base_text, 'false') else base_text end as base_value,
    case type when 'boolean' then coalesce(dynamics_text, 'false') else dynamics_text end as dynamics_value,
    case type when 'boolean' then coalesce(marketo_text, 'false') else marketo_text end as marketo_value,
    false as is_relabelled, is_carried_over
from compared;
