"""What follows from what: pure functions of values. Imports values only, does no I/O, reads no clock."""
