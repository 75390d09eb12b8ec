-- settled_receipts: ends the settling: every receipt was taken into account.
--
-- reads    fresh_receipts
-- makes    nothing
-- changes  reconcile.receipts
update reconcile.receipts set is_settled = true where operation_id in (select operation_id from fresh_receipts);
