"""A module of a user's that cannot be imported."""

import sys

sys.exit("no configuration")
