"""What a server shows to browsers: apps, functions, calls and what they print. Pages, that work without scripts."""
