"""modal_lite beside other ways to run a function in two processes. `python -m benchmarks.run`; see README.md."""
