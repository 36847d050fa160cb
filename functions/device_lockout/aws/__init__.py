"""The gateways: each speaks to one AWS service and turns its answers and errors into values. Imports values only."""
