"""Frames over sockets: the codec, a channel for event loops and one for threads that block."""
