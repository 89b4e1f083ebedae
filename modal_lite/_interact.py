"""The caller's terminal, for user code in a container."""

from modal_lite._core import context
from modal_lite.exception import InvalidError


async def _interact() -> None:
    """Gives the function that calls it, in a container, the terminal of whoever runs the app.

    From then on, until its input is done, standard input, output and error are that terminal: `input()`, pdb,
    `IPython.embed()` and whatever else needs one work, Ctrl-C is a `KeyboardInterrupt` in the function, and nothing
    else is shown there. `breakpoint()` does this by itself. If another container has the terminal it waits for its
    turn, blocking the thread, as all that follows will. Its time counts against the `timeout` of the function.

    Raises:
        InvalidError: This is no container; or the program was not started with `modal-lite run -i`, nor the app with
            `app.run(interactive=True)`.
    """
    if context.terminal is None:
        raise InvalidError(
            "modal_lite.interact() is for functions in containers. This process has its terminal already, if any."
        )
    context.terminal.interact()
