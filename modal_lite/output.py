"""Temporary."""


def current():
    return None


def enable_output(show_progress=True):
    return None
