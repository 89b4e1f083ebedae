"""The control plane: the scheduler with sockets, processes and clients around it. Today it lives in the caller's process."""
