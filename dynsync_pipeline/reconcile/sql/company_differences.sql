-- company_differences: compares updated accounts with their companies in Marketo. Any update of an account re-applies its
-- whole row, which overrides local edits of its company (R52, R65). A deleted or deactivated account is not applied any more, nor
-- one that the filter keeps out; its company keeps the last values (R61, R94). What Marketo holds already is no difference (R56); an account without contacts has a
-- company too (R58). What a column lost while it was away is no clear (R107).
-- What reaches more people than may be unasked, one account or one field of many, waits until somebody approves: with its whole
-- row, because that is one write.
--
-- reads    this_cycle, inbox.touched, state.unread, state.unread_tables, state.unsettled, state.approvals, state.filtered_out,
--          mirror.dynamics_accounts, mirror.marketo_companies, mirror.marketo_people,
--          state.account_values, state.company_values, state.local_company_edits, state.relabelled_accounts,
--          state.returned_fields, state.lost_account_values
-- makes    due_accounts: one row per living account that was updated, relabelled or is due, `is_new` where Marketo has no company
--          account_differences: one row per such account and company field that Marketo holds differently
--          asked_differences: one row per such difference of an account that waits until somebody approves, with the cause
--          updated_accounts: one row per account that is applied in this cycle
--          company_differences: one row per updated account and company field that Marketo holds differently
-- changes  state.lost_account_values
create temp table due_accounts as
select a.accountid as account_id, k.external_company_id is null as is_new
from (
    select dynamics_id from inbox.touched where record_type = 'account'
    union
    select dynamics_id from state.unsettled, this_cycle where record_type = 'account' and next_look_at <= planned_at
    union
    -- A renamed option is no update of the account, so it overrides no local edits (R33, R52).
    select account_id from state.relabelled_accounts
    where account_id not in (select external_company_id from state.local_company_edits)
) t
join mirror.dynamics_accounts a on a.accountid = t.dynamics_id and not a.is_deleted and coalesce(a.statecode, '0') = '0'
left join mirror.marketo_companies k on k.external_company_id = a.accountid
where a.accountid not in (select key from state.unread where record_type in ('account', 'company'))
  and a.accountid not in (select dynamics_id from state.filtered_out where record_type = 'account')
  and 'account' not in (select record_type from state.unread_tables);

insert into state.lost_account_values (account_id, field)
select k.external_company_id, k.field
from (
    with companies as (
        from state.company_values where external_company_id in (select account_id from due_accounts)
    )
    from long_of('companies')
) k
where ('account', k.field) in (select (record_type, field) from state.returned_fields)
  and (k.external_company_id, k.field) not in (select (account_id, field) from state.lost_account_values);

delete from state.lost_account_values
where (account_id, field) in (
    with accounts as (
        from state.account_values where account_id in (select account_id from due_accounts)
    )
    select (account_id, field) from long_of('accounts')
);

create temp table account_differences as
with accounts as (
    from state.account_values where account_id in (select account_id from due_accounts)
),
companies as (
    from state.company_values where external_company_id in (select account_id from due_accounts)
),
held as (
    select external_company_id as account_id, field, value from long_of('companies')
)
select
    u.account_id,
    coalesce(a.field, c.field) as field,
    c.value as old_value,
    a.value as new_value,
    case when e.field is not null and e.value_before is not distinct from a.value then 'account_reapplied'
         else 'account_changed' end as reason_code
from long_of('accounts') a
full join held c on c.account_id = a.account_id and c.field = a.field
join due_accounts u on u.account_id = coalesce(a.account_id, c.account_id)
left join state.local_company_edits e on e.external_company_id = u.account_id and e.field = coalesce(a.field, c.field)
where a.value is distinct from c.value
  and (u.account_id, coalesce(a.field, c.field)) not in (select (account_id, field) from state.lost_account_values);

create temp table asked_differences as
with people as (
    select external_company_id as account_id, count(*) as n_people
    from mirror.marketo_people
    where not is_deleted and external_company_id in (select account_id from account_differences)
    group by all
),
-- What was let through before and is tried again unchanged is not asked again.
let_through as (
    select dynamics_id as account_id
    from state.unsettled, this_cycle
    where record_type = 'account' and reason_code <> 'waiting_for_approval' and not is_first_load
      and dynamics_id not in (select dynamics_id from inbox.touched where record_type = 'account')
),
told as (
    select
        d.*, p.n_people, a.cause as asked_cause, a.cause_name as asked_name, a.n_people as n_asked,
        a.approved_at is not null as is_approved,
        a.account_id is not null as is_known,
        is_known and not is_approved as was_asked,
        not is_known and d.account_id not in (select account_id from let_through) as is_unasked
    from account_differences d
    join people p using (account_id)
    left join (select *, dynamics_id as account_id from state.approvals where record_type = 'account') a
        on a.account_id = d.account_id and a.field = d.field
        and a.marketo_value is not distinct from d.old_value and a.dynamics_value is not distinct from d.new_value
),
counted as (
    select told.*, n_by_field
    from told
    join (  -- no window: over few and large parts one takes DuckDB the square of their rows
        select field, sum(n_people) filter (where is_unasked) as n_by_field from told group by field
    ) using (field)
),
-- Of several causes the account itself is named, then the field that reaches most; what waits already keeps its own.
caused as (
    select
        *,
        max(case
            when is_unasked and n_people > ask_above
                then {place: 3, n_reached: n_people, cause: 'account', cause_name: account_id}
            when is_unasked and n_by_field > ask_above
                then {place: 2, n_reached: n_by_field, cause: 'field', cause_name: field}
            when was_asked then {place: 1, n_reached: n_asked, cause: asked_cause, cause_name: asked_name}
        end) over (partition by account_id) as why
    from counted, this_cycle
)
select account_id, field, old_value, new_value, is_known, why.n_reached, why.cause, why.cause_name
from caused
where why is not null;

create temp table updated_accounts as
select account_id, is_new from due_accounts where account_id not in (select account_id from asked_differences);

create temp table company_differences as
select * from account_differences where account_id not in (select account_id from asked_differences);
