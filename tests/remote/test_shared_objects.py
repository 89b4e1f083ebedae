"""Dicts and Queues of a server: of programs that name it by `client=`, and of the functions that run there."""

from tests.remote.conftest import Server

SOURCE = """
    import modal_lite

    app = modal_lite.App("sharing")

    @app.function()
    def put(shared, key):
        shared[key] = "from a container"

    @app.function()
    def named(key):
        return modal_lite.Dict.from_name("named").get(key)

    @app.function()
    def pass_on(source, target):
        target.put(source.get() + 1)
"""


def test_programs_and_functions_share_them(server: Server) -> None:
    server.deploy(SOURCE, "sharing", file="sharing.py")
    code = """
        put, named, pass_on = (modal_lite.Function.from_name("sharing", name) for name in ("put", "named", "pass_on"))
        client = modal_lite.Client.from_env()
        shared = modal_lite.Dict.from_name("named", create_if_missing=True, client=client)
        put.remote(shared, "key")
        with modal_lite.Queue.ephemeral(client=client) as source, modal_lite.Queue.ephemeral(client=client) as target:
            call = pass_on.spawn(source, target)
            source.put(1)
            show([shared["key"], named.remote("key"), target.get(), call.get()])
    """
    assert server.python(code) == ["from a container", "from a container", 2, None]
    # They are the server's: the program that made them has ended.
    assert server.python('show(modal_lite.Function.from_name("sharing", "named").remote("key"))') == "from a container"


def test_those_of_a_program_are_not_there(server: Server) -> None:
    server.deploy(SOURCE, "sharing", file="sharing.py")
    code = """
        with modal_lite.Dict.ephemeral() as mine:
            try:
                modal_lite.Function.from_name("sharing", "put").remote(mine, "key")
            except modal_lite.exception.NotFoundError as error:
                show(str(error))
    """
    assert "make them with `client=`" in server.python(code)
