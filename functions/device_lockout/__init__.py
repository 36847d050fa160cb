"""Device lockout: security reports become WorkMail DENY overrides, and stale ones expire.

The story, in the order in which a report meets it: an event is read into a command (``report``, ``policy``);
the command waits its turn in its device's group (``command``, ``command_queue``);
there the six steps of the protocol carry it out (``steps``):
what stands (``override``, ``tag``) and what is wanted (``record``) meet in one pure function (``decision``),
WorkMail is made to agree (``workmail``), the ledger keeps what was decided (``ledger``),
and the outcome is announced (``outcome``, ``bus``).
On a schedule the sweep compares everything that stands with everything that is wanted (``plan``, ``sweep``).

The import rule: outside parties (``workmail``, ``ledger``, ``command_queue``, ``bus``) import values;
decisions import values only, and never anything that reads or writes outside the process;
only ``steps`` and ``sweep`` bring the two together; nothing here imports a handler.
"""
