"""Events and webhooks, checked and read into commands. Imports values only."""
