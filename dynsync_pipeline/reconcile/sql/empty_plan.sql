-- empty_plan: forgets the plan of the cycle before, of which everything is settled or will be derived anew.
--
-- reads    nothing
-- makes    nothing
-- changes  reconcile.operations, reconcile.planned_changes, reconcile.planned_collisions, reconcile.planned_activities,
--          reconcile.planned_account_changes, reconcile.receipts, reconcile.refused_fields, reconcile.edited_meanwhile,
--          reconcile.failed_operations, reconcile.unsent_fields
delete from reconcile.operations;
delete from reconcile.planned_changes;
delete from reconcile.planned_collisions;
delete from reconcile.planned_activities;
delete from reconcile.planned_account_changes;
delete from reconcile.receipts;
delete from reconcile.refused_fields;
delete from reconcile.edited_meanwhile;
delete from reconcile.failed_operations;
delete from reconcile.unsent_fields;
