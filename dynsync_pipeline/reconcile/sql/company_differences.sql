-- company_differences. Grain: one row per updated account and company field that Marketo holds differently.
-- Any update of the account re-applies its whole row, which overrides local edits of its company (R52). A deleted or
-- deactivated account is not applied any more; its company keeps the last values (R61).
create or replace temp table updated_accounts as
select a.accountid as account_id, k.external_company_id is null as is_new
from (
    select dynamics_id from inbox.touched where record_type = 'account'
    union
    select dynamics_id from state.unsettled, this_cycle where record_type = 'account' and next_look_at <= planned_at
) t
join mirror.dynamics_accounts a on a.accountid = t.dynamics_id and not a.is_deleted and coalesce(a.statecode, '0') = '0'
left join mirror.marketo_companies k on k.external_company_id = a.accountid;

create or replace temp table company_differences as
with account_long as (
    select account_id, field, value
    from (unpivot (from state.account_values where account_id in (select account_id from updated_accounts))
          on columns(* exclude (account_id)) into name field value value)
),
company_long as (
    select external_company_id as account_id, field, value
    from (unpivot (from state.company_values where external_company_id in (select account_id from updated_accounts))
          on columns(* exclude (external_company_id)) into name field value value)
)
select
    u.account_id,
    coalesce(a.field, c.field) as field,
    c.value as old_value,
    a.value as new_value,
    case when e.field is not null and e.value_before is not distinct from a.value then 'account re-applied'
         else 'account changed' end as reason
from account_long a
full join company_long c on c.account_id = a.account_id and c.field = a.field
join updated_accounts u on u.account_id = coalesce(a.account_id, c.account_id)
left join state.local_company_edits e on e.external_company_id = u.account_id and e.field = coalesce(a.field, c.field)
where a.value is distinct from c.value;
