"""A proof of the protocol by explicit-state search. It runs the real decision, plan and step code.

The code is synchronous, and its answers decide what it does.
A process is therefore the list of its answers so far: replay them, and it stops at its next call.

- :mod:`verify.scenario` and :mod:`verify.scenarios` say what there is to search;
- :mod:`verify.scripted_ports` and :mod:`verify.processes` run the code up to its next call;
- :mod:`verify.numbering` and :mod:`verify.state` describe one moment;
- :mod:`verify.calls`, :mod:`verify.deliveries`, :mod:`verify.sweeps` and :mod:`verify.people` say what may happen next;
- :mod:`verify.world` joins them, and :mod:`verify.in_words` tells a history in words;
- :mod:`verify.expected` and :mod:`verify.invariants` say what must be true;
- :mod:`verify.explorer` searches breadth first.

:mod:`verify.breaks` switches one guard off, to show that the search notices.
:mod:`verify.sweep_pairs` sweeps from pairs of override and record.
:mod:`verify.histories` walks long random histories.
Run them by ``make verify``, ``make verify BREAK=NAME``, ``make verify-list``, ``make histories`` and
``make verify-long``.
"""
