"""The way in: every path of the Marketo emulator and the part that serves it.

Parts: `gateway` what every request passes · `protocol` calls and answers · `access`, `limits` who and how often ·
`store` state · `fields`, `values` what is stored · `leads` reads · `lead_sync` writes and deletes · `people_writes`
what a write does · `companies`, `merging`, `partitions`, `lists`, `assets`, `schema_fields` · `activities`,
`activity_types` the log and its feeds · `custom_types`, `custom_activities` · `bulk_extract`, `bulk_requests`,
`bulk_files` exports · `bulk_import`, `import_rows` imports · `bulk_worker` the pace of both · `control` what only an
emulator has · `seeding` bulk insert.

Control endpoints, which need no token and never count: see `control.py`.
"""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.middleware import Middleware

from dynsync_pipeline.emulators.forgiving import Forgiving
from dynsync_pipeline.emulators.marketo import (
    activities,
    assets,
    bulk_extract,
    bulk_import,
    companies,
    custom_types,
    leads,
    limits,
    lists,
    partitions,
    schema_fields,
)
from dynsync_pipeline.emulators.marketo.bulk_worker import BulkWorker
from dynsync_pipeline.emulators.marketo.custom_activities import add_activities
from dynsync_pipeline.emulators.marketo.gateway import IMPORT, Gateway, Handler
from dynsync_pipeline.emulators.marketo.lead_sync import delete_leads, sync_leads
from dynsync_pipeline.emulators.marketo.merging import merge_leads
from dynsync_pipeline.emulators.marketo.store import Store

_EXPORT = "/bulk/v1/{object}/export"
_EXTERNAL = "/rest/v1/activities/external"
_TYPE = f"{_EXTERNAL}/type/{{api_name}}"
_ASSET = "/rest/asset/v1"
ROUTES: list[tuple[str, str, Handler]] = [
    ("GET", "/rest/v1/leads/describe.json", leads.describe),
    ("GET", "/rest/v1/leads/describe2.json", leads.describe2),
    ("GET", "/rest/v1/leads/schema/fields.json", schema_fields.lead_fields),
    ("POST", "/rest/v1/leads/schema/fields.json", schema_fields.create_lead_fields),
    ("GET", "/rest/v1/leads/schema/fields/{name}.json", schema_fields.lead_field),
    ("POST", "/rest/v1/leads/schema/fields/{name}.json", schema_fields.update_lead_field),
    ("GET", "/rest/v1/leads/partitions.json", partitions.partitions),
    ("POST", "/rest/v1/leads/partitions.json", partitions.move_people),
    ("GET", "/rest/v1/lead/{id}.json", leads.lead_by_id),
    ("GET", "/rest/v1/leads.json", leads.leads_by_filter),
    ("POST", "/rest/v1/leads.json", sync_leads),
    ("DELETE", "/rest/v1/leads.json", delete_leads),
    ("POST", "/rest/v1/leads/delete.json", delete_leads),
    ("POST", "/rest/v1/leads/{id}/merge.json", merge_leads),
    ("GET", "/rest/v1/lists.json", lists.lists),
    ("GET", "/rest/v1/lists/{id}.json", lists.list_by_id),
    ("GET", "/rest/v1/list/{id}/leads.json", lists.members),
    ("GET", "/rest/v1/lists/{id}/leads.json", lists.members),
    ("POST", "/rest/v1/lists/{id}/leads.json", lists.add_members),
    ("DELETE", "/rest/v1/lists/{id}/leads.json", lists.remove_members),
    ("GET", "/rest/v1/lists/{id}/leads/ismember.json", lists.is_member),
    ("GET", "/rest/v1/companies/describe.json", companies.describe),
    ("GET", "/rest/v1/companies/schema/fields.json", schema_fields.company_fields),
    ("GET", "/rest/v1/companies/schema/fields/{name}.json", schema_fields.company_field),
    ("GET", "/rest/v1/companies.json", companies.companies_by_filter),
    ("POST", "/rest/v1/companies.json", companies.sync_companies),
    ("POST", "/rest/v1/companies/delete.json", companies.delete_companies),
    ("GET", "/rest/v1/activities/types.json", activities.types),
    ("GET", "/rest/v1/activities/pagingtoken.json", activities.paging_token),
    ("GET", "/rest/v1/activities.json", activities.activities),
    ("GET", "/rest/v1/activities/leadchanges.json", activities.lead_changes),
    ("GET", "/rest/v1/activities/deletedleads.json", activities.deleted_leads),
    ("POST", f"{_EXTERNAL}.json", add_activities),
    ("GET", f"{_EXTERNAL}/types.json", custom_types.custom_types),
    ("POST", f"{_EXTERNAL}/type.json", custom_types.create_type),
    ("POST", f"{_TYPE}.json", custom_types.update_type),
    ("GET", f"{_TYPE}/describe.json", custom_types.describe_type),
    ("POST", f"{_TYPE}/approve.json", custom_types.approve_type),
    ("POST", f"{_TYPE}/discardDraft.json", custom_types.discard_draft),
    ("POST", f"{_TYPE}/delete.json", custom_types.delete_type),
    ("POST", f"{_TYPE}/attributes/create.json", custom_types.create_attributes),
    ("POST", f"{_TYPE}/attributes/update.json", custom_types.update_attributes),
    ("POST", f"{_TYPE}/attributes/delete.json", custom_types.delete_attributes),
    ("GET", "/rest/v1/campaigns.json", assets.campaigns),
    ("GET", f"{_ASSET}/programs.json", assets.programs),
    ("GET", f"{_ASSET}/staticLists.json", assets.static_lists),
    ("POST", f"{_ASSET}/staticLists.json", assets.create_static_list),
    ("GET", f"{_ASSET}/staticList/byName.json", assets.static_list_by_name),
    ("GET", f"{_ASSET}/staticList/{{id}}.json", assets.static_list),
    ("POST", f"{_ASSET}/staticList/{{id}}.json", assets.update_static_list),
    ("POST", f"{_ASSET}/staticList/{{id}}/delete.json", assets.delete_static_list),
    ("GET", "/rest/v1/stats/usage.json", limits.usage_today),
    ("GET", "/rest/v1/stats/usage/last7days.json", limits.usage_last_days),
    ("GET", "/rest/v1/stats/errors.json", limits.errors_today),
    ("GET", "/rest/v1/stats/errors/last7days.json", limits.errors_last_days),
    ("POST", f"{_EXPORT}/create.json", bulk_extract.create),
    ("POST", f"{_EXPORT}/{{export_id}}/enqueue.json", bulk_extract.enqueue),
    ("POST", f"{_EXPORT}/{{export_id}}/cancel.json", bulk_extract.cancel),
    ("GET", f"{_EXPORT}/{{export_id}}/status.json", bulk_extract.status),
    ("GET", f"{_EXPORT}/{{export_id}}/file.json", bulk_extract.file),
    ("GET", f"{_EXPORT}.json", bulk_extract.jobs),
    ("POST", IMPORT, bulk_import.import_leads),
    ("GET", "/bulk/v1/leads/batch/{id}.json", bulk_import.import_status),
    ("GET", "/bulk/v1/leads/batch/{id}/failures.json", bulk_import.failures),
    ("GET", "/bulk/v1/leads/batch/{id}/warnings.json", bulk_import.warnings),
]


def build_app(store: Store) -> Starlette:
    """The ASGI application over `store`, which the caller closes."""
    app = Starlette(middleware=[Middleware(Forgiving)])
    # Every path and verb, also paths that Starlette's own patterns cannot match.
    app.router.default = Gateway(store, ROUTES)
    app.state.store = store
    store.before_close.append(BulkWorker(store).close)
    return app
