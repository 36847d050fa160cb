"""Measurements that print ratios: `python -m bench`, or `make bench`. A missed aim fails nothing."""

type Figures = dict[str, float]
"""Measured numbers by name. `docs/performance-and-cost.md` says what each one is."""
