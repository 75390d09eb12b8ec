-- settled_receipts: ends the settling: every receipt was taken into account.
--
-- reads    nothing
-- makes    nothing
-- changes  reconcile.receipts
update reconcile.receipts set is_settled = true where not is_settled;
