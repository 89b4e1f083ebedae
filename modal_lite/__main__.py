"""`python -m modal_lite`: the same as `modal-lite`."""

from modal_lite.cli import main

if __name__ == "__main__":
    main()
