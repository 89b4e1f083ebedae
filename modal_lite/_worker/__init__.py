"""The container: the template it is forked from, loading the user's function, running leases."""
