"""The proof of the protocol: an explicit-state search that runs the real decision, plan and step code.

The code under ``functions/`` is synchronous and pure given its answers, so a process is the list of answers that it
has had: replay it with them and it stops at its next call (``tape``).
What WorkMail, the ledger, the queue, people, faults and the clock may do between any two calls (``world``, ``state``)
is enumerated breadth first to the end of each scenario (``explorer``, ``scenarios``), and every state is held against
the ``invariants``.
``breaks`` switches off one guard at a time, from outside, to show that the search would notice;
``pairs`` starts from every pair of override and record, and ``histories`` walks long random histories.
Run it with ``make verify``, ``make verify BREAK=name``, ``make verify-list`` and ``make verify-long``.
"""
