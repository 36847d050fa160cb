"""What everything else is about: frozen values and their forms as text. Imports no other layer, does no I/O."""
