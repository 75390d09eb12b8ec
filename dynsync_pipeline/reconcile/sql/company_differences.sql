-- company_differences: compares updated accounts with their companies in Marketo. Any update of an account re-applies its
-- whole row, which overrides local edits of its company (R52, R65). A deleted or deactivated account is not applied any more, nor
-- one that the filter keeps out; its company keeps the last values (R61, R94). What Marketo holds already is no difference (R56); an account without contacts has a
-- company too (R58). What a column lost while it was away is no clear (R107).
--
-- reads    this_cycle, inbox.touched, state.unread, state.unread_tables, state.unsettled, state.filtered_out, mirror.dynamics_accounts,
--          mirror.marketo_companies,
--          state.account_values, state.company_values, state.local_company_edits, state.relabelled_accounts,
--          state.returned_fields, state.lost_account_values
-- makes    updated_accounts: one row per living account that was updated, relabelled or is due, `is_new` where Marketo has no company
--          company_differences: one row per updated account and company field that Marketo holds differently
-- changes  state.lost_account_values
create temp table updated_accounts as
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
        from state.company_values where external_company_id in (select account_id from updated_accounts)
    )
    from long_of('companies')
) k
where ('account', k.field) in (select (record_type, field) from state.returned_fields)
  and (k.external_company_id, k.field) not in (select (account_id, field) from state.lost_account_values);

delete from state.lost_account_values
where (account_id, field) in (
    with accounts as (
        from state.account_values where account_id in (select account_id from updated_accounts)
    )
    select (account_id, field) from long_of('accounts')
);

create temp table company_differences as
with accounts as (
    from state.account_values where account_id in (select account_id from updated_accounts)
),
companies as (
    from state.company_values where external_company_id in (select account_id from updated_accounts)
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
join updated_accounts u on u.account_id = coalesce(a.account_id, c.account_id)
left join state.local_company_edits e on e.external_company_id = u.account_id and e.field = coalesce(a.field, c.field)
where a.value is distinct from c.value
  and (u.account_id, coalesce(a.field, c.field)) not in (select (account_id, field) from state.lost_account_values);
