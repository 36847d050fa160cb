"""The gateways. Each speaks to one AWS service and turns its answers and errors into values. They import values only.

A gateway's ``OPERATIONS`` are the operations that it calls, as ``service:Operation``. The package has botocore's models
of these and no others. The functions' roles allow these and no others.
"""
