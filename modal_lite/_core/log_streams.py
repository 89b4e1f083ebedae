"""Where the lines of an app's log come from."""

STDOUT, STDERR = "stdout", "stderr"
"""From a container: what user code writes."""
SERVER = "server"
"""From the server, about a container: why it is not there yet."""
