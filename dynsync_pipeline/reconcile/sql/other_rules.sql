-- other_rules: puts other rules in the place of the field map's, for fields that are synced both ways; nothing else of a field
-- is tried, and one that the other map lacks keeps its rule.
--
-- reads    reconcile.fields, tried_rules, fields_now
-- makes    other_rules: one row per field that is synced both ways, with the rule that is tried
--          differing_fields: one row per field that differs now, under the rule that is tried
-- changes  nothing
create temp table other_rules as
select
    f.record_type, f.field, f.dynamics_column, f.type, f.direction,
    case when t.field is null then f.collision else t.collision end as collision,
    case when t.field is null then f.forbids else t.forbids end as forbids
from reconcile.fields f
left join tried_rules t on t.record_type = f.record_type and t.field = f.field
where f.direction = 'both';

create temp table differing_fields as
select
    d.person_id, d.record_type, d.dynamics_id, d.field, d.dynamics_column, d.type, d.direction,
    case when o.field is null then d.collision else o.collision end as collision,
    case when o.field is null then d.forbids else o.forbids end as forbids,
    d.has_base, d.base_value, d.dynamics_value, d.marketo_value, d.is_relabelled
from fields_now d
left join other_rules o on o.record_type = d.record_type and o.field = d.field;
