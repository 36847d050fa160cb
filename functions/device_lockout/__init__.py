"""Device lockout: security reports become WorkMail DENY overrides, and stale ones expire.

A report's way through the layers:

1. ``inbound`` reads an event into a command.
2. The command waits its turn in its device's group, on a queue (``aws.command_queue``).
3. ``protocol.steps`` carries it out. It reads the override and the ledger, asks ``decisions.decision``, writes the
   ledger, then WorkMail, and announces the outcome.
4. On a schedule ``protocol.sweep`` compares all overrides with all wanted locks (``decisions.plan``).

``values`` is what all of them speak about. ``aws`` implements the ports of ``protocol``. ``wiring`` joins the two.
Imports point one way: ``wiring`` → ``protocol``, ``inbound``, ``aws`` → ``decisions`` → ``values``. Gateways and
``inbound`` skip ``decisions``. ``protocol`` knows no gateway.
"""
