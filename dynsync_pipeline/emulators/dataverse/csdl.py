"""`$metadata`: the schema as CSDL XML, for clients that generate code or look up types.

Source: docs/protocols/dataverse.md#metadata.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import quoteattr

from dynsync_pipeline.emulators.dataverse.call import Call
from dynsync_pipeline.emulators.dataverse.schema import EDM_TYPES, PRINCIPALS, Column, Schema, Table

EDMX = "http://docs.oasis-open.org/odata/ns/edmx"
EDM = "http://docs.oasis-open.org/odata/ns/edm"
NAMESPACE = "Microsoft.Dynamics.CRM"


def document(call: Call) -> bytes:
    """The whole document; `?annotations=true` adds what the service says about sets and columns."""
    annotated = call.custom.get("annotations") == "true"
    return "\n".join(_lines(call.schema, annotated)).encode()


def _lines(schema: Schema, annotated: bool) -> Iterator[str]:
    yield '<?xml version="1.0" encoding="utf-8"?>'
    yield f'<edmx:Edmx Version="4.0" xmlns:edmx="{EDMX}">'
    yield "<edmx:DataServices>"
    yield f'<Schema Namespace="{NAMESPACE}" Alias="mscrm" xmlns="{EDM}">'
    yield '<EntityType Name="crmbaseentity" Abstract="true" />'
    yield '<EntityType Name="principal" BaseType="mscrm.crmbaseentity"><Key><PropertyRef Name="ownerid" /></Key>'
    yield '<Property Name="ownerid" Type="Edm.Guid" /></EntityType>'
    for table in schema.tables.values():
        yield from _entity_type(schema, table, annotated)
    yield from _operations()
    yield '<EntityContainer Name="System">'
    for table in schema.tables.values():
        yield from _entity_set(schema, table, annotated)
    yield '<FunctionImport Name="WhoAmI" Function="mscrm.WhoAmI" />'
    yield ('<FunctionImport Name="RetrieveTotalRecordCount" Function="mscrm.RetrieveTotalRecordCount" />')
    yield '<ActionImport Name="Merge" Action="mscrm.Merge" />'
    yield '<ActionImport Name="BulkDelete" Action="mscrm.BulkDelete" />'
    yield "</EntityContainer></Schema></edmx:DataServices></edmx:Edmx>"


def _entity_type(schema: Schema, table: Table, annotated: bool) -> Iterator[str]:
    is_principal = table.name in PRINCIPALS
    base = "principal" if is_principal else "crmbaseentity"
    yield f'<EntityType Name="{table.name}" BaseType="mscrm.{base}">'
    if not is_principal:
        yield f'<Key><PropertyRef Name="{table.primary_id}" /></Key>'
    for keyed in table.keys.values() if annotated else ():
        refs = "".join(f"<String>{name}</String>" for name in keyed)
        yield f'<Annotation Term="OData.Community.Keys.V1.AlternateKeys"><Collection>{refs}</Collection></Annotation>'
    for column in table.columns.values():
        if is_principal and column.name == "ownerid":
            continue
        yield from _property(column, annotated)
    yield from _navigations(schema, table)
    yield "</EntityType>"


def _navigations(schema: Schema, table: Table) -> Iterator[str]:
    for name, (column, target) in table.navigations.items():
        partner = f' Partner="{target.collection}"' if target.collection else ""
        far = schema.tables[target.table]
        yield (
            f'<NavigationProperty Name="{name}" Type="mscrm.{target.table}" Nullable="false"{partner}>'
            f'<ReferentialConstraint Property="{column.wire_name}" ReferencedProperty="{far.key_property}" />'
            "</NavigationProperty>"
        )
    for name, (far, _, target) in schema.collections(table.name).items():
        yield (
            f'<NavigationProperty Name="{name}" Type="Collection(mscrm.{far.name})" Partner="{target.navigation}" />'
        )


def _property(column: Column, annotated: bool) -> Iterator[str]:
    length = f' MaxLength="{column.max_length}"' if column.kind in ("text", "memo") else ""
    scale = ' Scale="Variable"' if column.kind in ("decimal", "money") else ""
    start = f'<Property Name="{column.wire_name}" Type="{EDM_TYPES[column.kind]}"{length}{scale}'
    computed = annotated and not (column.valid_for_create or column.valid_for_update)
    if not computed:
        yield f"{start} />"
    else:
        yield f'{start}><Annotation Term="Org.OData.Core.V1.Computed" Bool="true" />'
        yield '<Annotation Term="Org.OData.Core.V1.Permissions">'
        yield "<EnumMember>Org.OData.Core.V1.PermissionType/Read</EnumMember></Annotation></Property>"


def _entity_set(schema: Schema, table: Table, annotated: bool) -> Iterator[str]:
    yield f'<EntitySet Name="{table.entity_set}" EntityType="{NAMESPACE}.{table.name}">'
    for name, (_, target) in table.navigations.items():
        far = schema.tables[target.table].entity_set
        yield f'<NavigationPropertyBinding Path={quoteattr(name)} Target="{far}" />'
    for name, (other, _, _) in schema.collections(table.name).items():
        yield f'<NavigationPropertyBinding Path={quoteattr(name)} Target="{other.entity_set}" />'
    if annotated and table.change_tracking:
        yield '<Annotation Term="Org.OData.Capabilities.V1.ChangeTracking"><Record>'
        yield '<PropertyValue Property="Supported" Bool="true" /></Record></Annotation>'
    yield "</EntitySet>"


def _operations() -> Iterator[str]:
    yield '<ComplexType Name="WhoAmIResponse"><Property Name="BusinessUnitId" Type="Edm.Guid" Nullable="false" />'
    yield '<Property Name="UserId" Type="Edm.Guid" Nullable="false" />'
    yield '<Property Name="OrganizationId" Type="Edm.Guid" Nullable="false" /></ComplexType>'
    yield '<Function Name="WhoAmI"><ReturnType Type="mscrm.WhoAmIResponse" Nullable="false" /></Function>'
    yield '<ComplexType Name="RetrieveTotalRecordCountResponse" OpenType="true" />'
    yield '<Function Name="RetrieveTotalRecordCount">'
    yield '<Parameter Name="EntityNames" Type="Collection(Edm.String)" Nullable="false" />'
    yield '<ReturnType Type="mscrm.RetrieveTotalRecordCountResponse" Nullable="false" /></Function>'
    yield '<Action Name="Merge"><Parameter Name="Target" Type="mscrm.crmbaseentity" Nullable="false" />'
    yield '<Parameter Name="Subordinate" Type="mscrm.crmbaseentity" Nullable="false" />'
    yield '<Parameter Name="UpdateContent" Type="mscrm.crmbaseentity" />'
    yield '<Parameter Name="PerformParentingChecks" Type="Edm.Boolean" Nullable="false" /></Action>'
    yield '<ComplexType Name="BulkDeleteResponse"><Property Name="JobId" Type="Edm.Guid" /></ComplexType>'
    yield '<Action Name="BulkDelete"><Parameter Name="QuerySet" Type="Collection(mscrm.crmbaseentity)" />'
    yield '<Parameter Name="JobName" Type="Edm.String" /><ReturnType Type="mscrm.BulkDeleteResponse" /></Action>'
    yield '<Action Name="QualifyLead" IsBound="true"><Parameter Name="entity" Type="mscrm.lead" Nullable="false" />'
    for name in ("CreateAccount", "CreateContact", "CreateOpportunity"):
        yield f'<Parameter Name="{name}" Type="Edm.Boolean" Nullable="false" />'
    yield '<Parameter Name="Status" Type="Edm.Int32" Nullable="false" />'
    yield '<ReturnType Type="Collection(mscrm.crmbaseentity)" Nullable="false" /></Action>'
