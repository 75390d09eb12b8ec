"""Requests: wishes that a person of Marketo become a lead or contact in Dynamics (R71), from three doors to one store.

`store.py` keeps them, `serving.py` carries them out, `desk.py` does so between cycles. The doors: `listener.py` (a webhook),
`lists.py` (static lists), and the command `dynsync push`. Not here: updates of records, which nobody can ask for (R71).
"""
