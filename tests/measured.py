"""What tests measured: figures for people, on which no test depends."""

MEASURED: list[str] = []
