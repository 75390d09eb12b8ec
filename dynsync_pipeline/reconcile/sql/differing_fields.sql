-- differing_fields: finds what differs. The wide rows are compared once, by hash; only those that differ are turned long.
-- A field that is null on every side has no row there. What was changed and changed back differs no more (R39).
--
-- reads    compared_links, state.base_values, state.dynamics_records, state.marketo_values, state.base_missing,
--          state.returned_fields, state.old_labels, state.option_maps, reconcile.fields
-- makes    base_side: one row per compared link, its base
--          dynamics_side: one row per compared link, its record in the words of Marketo
--          marketo_side: one row per compared link, its person
--          differing_links: one row per compared link with any difference, or a field without base
--          differing_fields: one row per compared link and field whose three values are not all equal, that has no base, or
--              whose option bears another label now (R33): `is_relabelled`
-- changes  nothing
create temp table base_side as
from base_values_of('compared_links');

create temp table dynamics_side as
select c.person_id, r.* from compared_links c join dynamics_records_of('compared_links') r using (record_type, dynamics_id);

create temp table marketo_side as
from marketo_values_of('compared_links');

create temp table differing_links as
with hashes as (
    select person_id, hash(*columns(* exclude (person_id, record_type, dynamics_id))) as h from base_side
    union all
    select person_id, hash(*columns(* exclude (person_id, record_type, dynamics_id))) from dynamics_side
    union all
    select person_id, hash(*columns(* exclude (person_id, record_type, dynamics_id))) from marketo_side
)
select person_id
from hashes
group by person_id
having count(distinct h) > 1 or person_id in (select person_id from state.base_missing)
    or person_id in (select person_id from state.old_labels);

create temp table differing_fields as
-- What can have a row at all, before anything is joined to it: of a first meeting that is one value in ten.
with wide as (
    from side_by_side('differing_links') as sides
    where base_value is distinct from dynamics_value
       or base_value is distinct from marketo_value
       or exists (
           from state.base_missing as missing where missing.person_id = sides.person_id and missing.field = sides.field
       )
       or exists (from state.old_labels as old where old.person_id = sides.person_id and old.field = sides.field)
),
with_base as (
    select
        wide.*,
        links.record_type,
        links.dynamics_id,
        fields.dynamics_column,
        fields.type,
        fields.direction,
        fields.collision,
        fields.forbids,
        missing.person_id is not null as is_base_missing,
        -- A field that was parked and comes back empty has lost its base: that is no clear (R107).
        missing.person_id is null and (
            returned.field is null
            or (wide.dynamics_value is not null and not (fields.type = 'boolean' and wide.dynamics_value = 'false'))
        ) as has_base,
        -- An option that there is no more has no label that its bearers could be given.
        fields.direction <> 'to_dynamics' and coalesce(
            list_has_all(map_keys(known.labels), string_split(old.option_value, ','))
                and shown_options(old.option_value, fields.type, known) <> old.label,
            false
        ) as is_relabelled
    from wide
    join compared_links as links using (person_id)
    join reconcile.fields as fields on fields.record_type = links.record_type and fields.field = wide.field
    left join state.returned_fields as returned
        on returned.record_type = links.record_type and returned.field = wide.field
    left join state.base_missing as missing on missing.person_id = wide.person_id and missing.field = wide.field
    left join state.old_labels as old
        on old.person_id = wide.person_id and old.record_type = links.record_type and old.field = wide.field
    left join state.option_maps as known
        on known.record_type = links.record_type and known.dynamics_column = fields.dynamics_column
)
select
    person_id, record_type, dynamics_id, field, dynamics_column, type, direction, collision, forbids, has_base,
    case when has_base then base_value end as base_value,
    dynamics_value, marketo_value, is_relabelled
from with_base
where is_base_missing
   or is_relabelled
   or with_base.base_value is distinct from with_base.dynamics_value
   or with_base.base_value is distinct from with_base.marketo_value;
