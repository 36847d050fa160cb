"""Device lockout: security reports become WorkMail DENY overrides, which expire.

A report's way through the layers:

1. ``inbound`` reads an event into a command.
2. The command waits on a queue, in its device's group (``aws.command_queue``).
3. ``protocol.steps`` carries it out. It reads the override and the ledger, asks ``decisions.decision``, writes the
   ledger, then WorkMail, and announces the outcome.
4. On a schedule ``protocol.sweep`` compares all overrides with all wanted locks (``decisions.plan``).

``values`` are the types that all layers share. ``aws`` implements the ports of ``protocol``. ``wiring`` joins the two.
Imports point one way: ``wiring`` → ``protocol``, ``inbound``, ``aws`` → ``decisions`` → ``values``. ``aws`` and
``inbound`` skip ``decisions``. ``protocol`` imports no gateway.
"""

import gc

# Python looks for garbage after each 2,000 new objects. Until its first message a function makes 80,000, and all stay.
# To look took 12 ms of 170. https://docs.python.org/3.13/library/gc.html#gc.set_threshold
gc.set_threshold(200_000)
