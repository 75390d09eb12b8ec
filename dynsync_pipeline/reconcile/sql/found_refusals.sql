-- found_refusals: lists what is refused without asking the other system (R33, R115, R116). It is reported like what a system
-- answers, by report_refusals.sql.
--
-- reads    this_cycle, field_outcomes, kept_back, held_back, edited_after_merge, shared_keys, altered_own_fields, overwritten_keys,
--          doubled
-- makes    refusals: one row per refused record or field, as report_refusals.sql wants it
-- changes  nothing
create temp table refusals as
select
    cycle_id, planned_at as seen_at, record_type, person_id, dynamics_id, field, 'update' as operation,
    case when decided_for = 'marketo' then 'to_dynamics' else 'to_marketo' end as direction,
    refusal_code as code,
    case refusal_code
        when 'unknown_option' then
            'The label is none of the options of ' || dynamics_column || ' in Dynamics (R33). Choose one of these, or add the option.'
        when 'oscillates' then
            'Each system puts its own value back, as regularly as a machine. Find the rule or workflow that does it. The field is '
                || 'tried again two hours after its last write, and at once with another value.'
        else misfit_sentence(refusal_code, type, target, source, most_characters, least, most)
    end as message
from (
    select
        *,
        case when decided_for = 'marketo' then dynamics_column || ' in Dynamics' else field || ' in Marketo' end as target,
        case when decided_for = 'marketo' then 'Marketo' else 'Dynamics' end as source
    from field_outcomes
), this_cycle
where outcome = 'refuse'
union all
select
    any_value(cycle_id), any_value(planned_at), record_type, min(person_id), dynamics_id, null, 'create', 'to_marketo', 'key_taken',
    'A person who is linked to another record holds the id of this one, as after a merge (R18). Empty that field of the person: '
        || 'the record then gets a person of its own within a day.'
from kept_back, this_cycle
group by record_type, dynamics_id
union all
select
    cycle_id, planned_at, record_type, person_id, dynamics_id, null, 'create', 'to_marketo',
    case side when 'merged' then 'merged_in_marketo' else side end,
    case side
        when 'merged' then
            'The person of this lead was merged into that of a contact (R25), so the edit has nobody to go to. Make it on the '
                || 'contact, or qualify or delete the lead.'
        else
            'The person of this lead is its contact''s since it was qualified (R96), so the edit has nobody to go to. Make it on '
                || 'the contact, or take it back on the lead.'
    end
from edited_after_merge, this_cycle
union all
select
    cycle_id, planned_at, record_type, null, dynamics_id, null, 'create', 'to_marketo', code,
    'This contact was made of the lead ' || lead_id || ', which Dynamics does not let the sync read, so that nobody knows whether '
        || 'its person is the contact''s (R96). Let the sync''s user read that lead; it is asked for again within a day.'
from held_back, this_cycle
where code is not null
union all
select
    cycle_id, planned_at, record_type, person_id, dynamics_id, null, 'link', 'to_marketo', 'key_shared',
    'Another person holds the same id and is linked to the record (R16). Merge the two, or empty the field here.'
from shared_keys, this_cycle
union all
select
    any_value(cycle_id), any_value(planned_at), record_type, min(person_id), dynamics_id, null, 'link', 'to_marketo', 'doubled_link',
    'Person or record is linked more than once, which must never be: people ' || string_agg(person_id::varchar, ', ' order by person_id)
        || '. Nothing is written to either. Restore the working file from a backup, or start a new one, which links by key.'
from doubled, this_cycle
group by record_type, dynamics_id
union all
select
    cycle_id, planned_at, record_type, person_id, dynamics_id, field, 'update', 'to_marketo',
    error_code,
    case rule_code
        when 'key_put_back' then 'The key of a linked person was emptied or altered in Marketo and is put back (R18).'
        when 'own_field_put_back' then
            'Type or creation date of a linked person was emptied or altered in Marketo and is put back (R18).'
        else 'What the sync wrote to this field of the person did not stay, and is written again.'
    end || ' Only the sync writes to this field: find the person, list import or flow step that does it.'
from altered_own_fields, this_cycle
where error_code is not null and not is_waiting
union all
select
    cycle_id, planned_at, record_type, person_id, dynamics_id, field, 'update', 'to_marketo', 'key_altered',
    'Somebody wrote this key of the person in Marketo in the moment in which the sync wrote its own, which stands (R18). Only the '
        || 'sync writes to this field: find the person, list import or flow step that does it.'
from overwritten_keys, this_cycle;
