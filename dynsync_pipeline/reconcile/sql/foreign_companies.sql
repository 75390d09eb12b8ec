-- foreign_companies: forgets what was agreed on of a lead's company text whose person stands behind somebody else's company, and
-- has none of its own: what it shows there is not the lead's, so that the blank in its place is no clear (R42, R63).
--
-- reads    compared_links, mirror.marketo_people, mirror.marketo_companies, state.base_values, state.base_missing, reconcile.fields
-- makes    foreign_companies: one row per lead's person who stands behind a company with another key, and has none of its own
-- changes  state.base_missing
create temp table foreign_companies as
select l.person_id
from compared_links l
join mirror.marketo_people m on m.person_id = l.person_id and m.external_company_id <> 'lead:' || l.dynamics_id
left join mirror.marketo_companies k on k.external_company_id = 'lead:' || l.dynamics_id
where l.record_type = 'lead' and k.external_company_id is null;

insert into state.base_missing (person_id, field)
with bases as (
    from state.base_values where person_id in (select person_id from foreign_companies)
)
select b.person_id, b.field
from long_of('bases') b
join reconcile.fields f on f.record_type = 'lead' and f.is_on_company and f.field = b.field
where (b.person_id, b.field) not in (select (person_id, field) from state.base_missing);
