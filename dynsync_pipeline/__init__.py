"""DynSync: two-way sync between Microsoft Dynamics 365 and Adobe Marketo Engage.

Data flows one way: `extract` -> `reconcile` -> `write_back` -> `publish`; `cycle` runs the four in order.
Importing this package does no work. The map of its rooms: docs/design.md#map.
"""

__version__ = "0.1.0"
