"""How it is done: the steps in which decisions meet the outside world, through ports. Imports no gateway."""
