-- other_outcomes: says what comes out otherwise under other rules, of past collisions and of what differs now, in the words of
-- rule tests.
--
-- reads    ledger.collisions, overwritten_outcomes, field_outcomes, outcomes_now
-- makes    other_outcomes: one row per collision, and per link and field, that comes out otherwise; `collision_id` and
--              `settled_at` are null of what differs now
-- changes  nothing
create temp table other_outcomes as
with outcomes as (
    select
        c.entry_id as collision_id, c.settled_at, c.person_id, c.record_type, c.dynamics_id, c.field, c.base_value,
        c.dynamics_value, c.marketo_value, c.winner || '_wins' as outcome, outcome_word(o.outcome, o.rule_code) as outcome_then,
        o.rule_code
    from overwritten_outcomes o
    join ledger.collisions c on c.entry_id = -o.person_id
    union all
    select
        null, null, o.person_id, o.record_type, o.dynamics_id, o.field, o.base_value, o.dynamics_value, o.marketo_value,
        outcome_word(n.outcome, n.rule_code), outcome_word(o.outcome, o.rule_code), o.rule_code
    from field_outcomes o
    join outcomes_now n on n.person_id = o.person_id and n.field = o.field
)
select * from outcomes where outcome <> outcome_then;
