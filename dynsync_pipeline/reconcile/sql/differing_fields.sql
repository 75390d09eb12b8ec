-- differing_fields. Grain: one row per compared link and field whose three values are not all equal, or that has no base.
-- The wide rows are compared once, by hash; only those that differ are turned long. Unpivot drops nulls, so a value that
-- is null on every side has no row, and a null on one side comes back through the outer group.
create or replace temp table base_side as
select * from state.base_values where person_id in (select person_id from compared_links);

create or replace temp table dynamics_side as
select * from state.dynamics_values where person_id in (select person_id from compared_links);

create or replace temp table marketo_side as
select * from state.marketo_values where person_id in (select person_id from compared_links);

create or replace temp table differing_links as
with hashes as (
    select person_id, 'base' as side, hash(*columns(* exclude (person_id, record_type, dynamics_id))) as h from base_side
    union all
    select person_id, 'dynamics', hash(*columns(* exclude (person_id, record_type, dynamics_id))) from dynamics_side
    union all
    select person_id, 'marketo', hash(*columns(* exclude (person_id, record_type, dynamics_id))) from marketo_side
)
select person_id
from hashes
group by person_id
having count(distinct h) > 1 or person_id in (select person_id from state.base_missing);

create or replace temp table differing_fields as
with long as (
    select person_id, field, 'base' as side, value
    from (unpivot (select * exclude (record_type, dynamics_id) from base_side)
          on columns(* exclude (person_id)) into name field value value)
    where person_id in (select person_id from differing_links)
    union all
    select person_id, field, 'dynamics', value
    from (unpivot (select * exclude (record_type, dynamics_id) from dynamics_side)
          on columns(* exclude (person_id)) into name field value value)
    where person_id in (select person_id from differing_links)
    union all
    select person_id, field, 'marketo', value
    from (unpivot (select * exclude (record_type, dynamics_id) from marketo_side)
          on columns(* exclude (person_id)) into name field value value)
    where person_id in (select person_id from differing_links)
),
wide as (
    select
        person_id,
        field,
        max(value) filter (where side = 'base') as base_value,
        max(value) filter (where side = 'dynamics') as dynamics_value,
        max(value) filter (where side = 'marketo') as marketo_value
    from long
    group by person_id, field
)
select
    wide.person_id,
    compared_links.record_type,
    compared_links.dynamics_id,
    wide.field,
    fields.dynamics_column,
    fields.type,
    fields.direction,
    missing.person_id is null and (returned.field is null or wide.dynamics_value is not null) as has_base,
    case
        when missing.person_id is null and (returned.field is null or wide.dynamics_value is not null) then wide.base_value
    end as base_value,
    wide.dynamics_value,
    wide.marketo_value
from wide
join compared_links using (person_id)
join reconcile.fields as fields on fields.record_type = compared_links.record_type and fields.field = wide.field
left join state.returned_fields as returned
    on returned.record_type = compared_links.record_type and returned.field = wide.field
left join state.base_missing as missing on missing.person_id = wide.person_id and missing.field = wide.field
where missing.person_id is not null
   or wide.base_value is distinct from wide.dynamics_value
   or wide.base_value is distinct from wide.marketo_value;
