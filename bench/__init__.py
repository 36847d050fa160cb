"""Measurements that print ratios: `python -m bench`, or `make bench`. Nothing here decides whether a test passes."""
