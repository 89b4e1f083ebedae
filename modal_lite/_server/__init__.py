"""The control plane: the scheduler with sockets, processes and clients around it, in the caller's process."""
