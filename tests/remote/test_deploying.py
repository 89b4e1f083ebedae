"""Deploying, looking up and calling from processes that have none of the code."""

import pytest

from tests.remote.conftest import Server
from tests.remote.functions import APP
from tests.waiting import wait_until


@pytest.fixture(scope="module", autouse=True)
def app(server: Server) -> None:
    server.deploy(APP)


def test_all_ways_of_calling(server: Server) -> None:
    assert server.python(
        """
        f = modal_lite.Function.from_name("app", "square")
        rows = [f.remote(3), list(f.map(range(4))), list(f.starmap([(5,)])), f.for_each([1]), f.spawn(6).get()]
        rows += [list(modal_lite.Function.lookup("app", "numbers").remote_gen(3))]
        call = f.spawn_map(range(100))
        show([*rows, call.num_inputs(), sum(call.iter()), call.get(index=7), f.is_generator])
        """
    ) == [9, [0, 1, 4, 9], [25], None, 36, [0, 1, 2], 100, sum(i * i for i in range(100)), 49, False]


def test_classes(server: Server) -> None:
    assert server.python(
        """
        Model = modal_lite.Cls.from_name("app", "Model")
        looked = modal_lite.Cls.lookup("app", "Model")
        rows = [Model(name="x").predict.remote(1), Model().predict.remote(2), looked("y").predict.remote(3)]
        show([*rows, list(looked().predict.map([1, 2])), list(Model(name="x").count.remote_gen(2))])
        """.replace('looked("y")', 'looked(name="y")')
    ) == ["x:1:True", "plain:2:True", "y:3:True", ["plain:1:True", "plain:2:True"], [0, 1]]


def test_errors_of_look_ups_say_what_there_is(server: Server) -> None:
    assert server.python(
        """
        def problem(action):
            try:
                action()
            except modal_lite.Error as error:
                return [type(error).__name__, str(error)]
        show([
            problem(lambda: modal_lite.Function.lookup("ap", "square")),
            problem(lambda: modal_lite.Function.from_name("app", "squar").remote(1)),
            problem(lambda: modal_lite.Function.lookup("app", "Model")),
            problem(lambda: modal_lite.Cls.lookup("app", "square")),
            problem(lambda: modal_lite.Cls.lookup("app", "Model")().unknown),
            problem(lambda: modal_lite.App.lookup("app", environment_name="other")),
            problem(lambda: modal_lite.FunctionCall.from_id("fc-unknown").get()),
        ])
        """
    ) == [
        ["NotFoundError", "There is no deployed app ap in the environment main. There is app."],
        ["NotFoundError", "The app app (environment main) has no function or class squar. There is square."],
        ["InvalidError", "Model of the app app is a class: use Cls.from_name."],
        ["InvalidError", "square of the app app is a function: use Function.from_name."],
        ["NotFoundError", "The class Model of the app app has no method unknown; it has predict, count."],
        [
            "NotFoundError",
            "There is no deployed app app in the environment other. There is one in main: name it with "
            "environment_name=.",
        ],
        [
            "NotFoundError",
            "There is no function call fc-unknown on the server. Calls made by spawn are known until 30 days after "
            "their end.",
        ],
    ]


def test_the_own_exception_with_its_source_line(server: Server) -> None:
    text = server.python(
        """
        import traceback
        try:
            modal_lite.Function.from_name("app", "fails").remote()
        except ValueError as error:
            show("".join(traceback.format_exception(error)))
        """
    )
    assert 'raise ValueError("failed there")' in text and "modal_lite/_" not in text


def test_from_containers(server: Server) -> None:
    server.deploy(APP, "other")
    assert server.python(
        """
        of = lambda tag: modal_lite.Function.from_name("other", tag)
        call_id = of("spawner").remote()
        show([
            of("through").remote("app", "square", 5),
            of("applied").remote(modal_lite.Function.from_name("app", "square"), 6),
            of("parent").remote(),
            modal_lite.FunctionCall.from_id(call_id).get(),
        ])
        """
    ) == [25, 36, 13, 25]


def test_a_program_with_an_app_of_its_own(server: Server) -> None:
    path = server.folder / "own_app.py"
    path.write_text(
        "import json, modal_lite\n"
        "app = modal_lite.App()\n"
        "@app.function()\n"
        "def ask(x):\n"
        "    return modal_lite.Function.from_name('app', 'square').remote(x)\n"
        "if __name__ == '__main__':\n"
        "    far = modal_lite.Function.from_name('app', 'square')\n"
        "    with app.run():\n"
        "        calls = [ask.spawn(2), far.spawn(3)]\n"
        "        near, there = [modal_lite.FunctionCall.from_id(call.object_id).get() for call in calls]\n"
        "        print('SHOWN', json.dumps([ask.remote(4), near, there, modal_lite.gather(*calls)]))\n"
    )
    assert server.python(f"import runpy; runpy.run_path({str(path)!r}, run_name='__main__')") == [16, 4, 9, [4, 9]]


def test_environments_are_apart(server: Server) -> None:
    server.deploy(APP.replace('"one"', '"staged"'), "both", "--env", "staging")
    server.deploy(APP, "both")
    assert server.python(
        """
        staged = modal_lite.Function.from_name("both", "version", environment_name="staging")
        where = modal_lite.Function.from_name("both", "surroundings", environment_name="staging")
        show([staged.remote(), modal_lite.Function.from_name("both", "version").remote(), where.remote()[0]])
        """
    ) == ["staged", "one", "staging"]


def test_code_runs_from_the_snapshot(server: Server) -> None:
    _, cwd, file = server.python('show(modal_lite.Function.from_name("app", "surroundings").remote())')
    assert file.startswith(str(server.directory.snapshots)) and cwd.startswith(str(server.directory.snapshots))


def test_deploying_anew_lets_calls_end_where_they_began(server: Server) -> None:
    gate = server.folder / "gate"
    server.deploy(APP, "swapped")
    running = server.python(f'show(modal_lite.Function.from_name("swapped", "gate").spawn({str(gate)!r}).object_id)')
    wait_until((server.folder / "gate.started").exists)
    server.deploy(APP.replace('"one"', '"two"'), "swapped")
    assert server.python('show(modal_lite.Function.from_name("swapped", "version").remote())') == "two"
    gate.touch()
    assert server.python(f'show(modal_lite.FunctionCall.from_id("{running}").get())') == "one"


def test_a_handle_from_before_leads_to_the_new_version(server: Server) -> None:
    server.deploy(APP, "followed")
    file = server.folder / "go"
    client = server.start_python(
        f"""
        import os, time
        f = modal_lite.Function.from_name("followed", "version")
        m = modal_lite.Cls.from_name("followed", "Model")(name="a")
        before = [f.remote(), m.predict.remote(1)]
        open({str(file)!r} + ".ready", "w").close()
        while not os.path.exists({str(file)!r}):
            time.sleep(0.01)
        show([before, f.remote(), m.predict.remote(2)])
        """
    )
    with client:
        wait_until((server.folder / "go.ready").exists)
        server.deploy(APP.replace('"one"', '"two"').replace("{x}", "new {x}"), "followed")
        file.touch()
        out, err = client.communicate(timeout=30)
    assert '[["one", "a:1:True"], "two", "a:new 2:True"]' in out, err


def test_history_rollback_list_stop_and_logs(server: Server) -> None:
    server.deploy(APP, "managed")
    server.deploy(APP.replace('"one"', '"two"'), "managed")
    server.cli("app", "rollback", "managed")
    assert server.python('show(modal_lite.Function.from_name("managed", "version").remote())') == "one"
    history = server.cli("app", "history", "managed").stdout.splitlines()
    assert [line.split()[0] for line in history] == ["VERSION", "v3", "v2", "v1"] and "(v1 again)" in history[1]
    server.python('show(modal_lite.Function.from_name("managed", "talk").remote("well said"))')
    wait_until(lambda: "talk: well said" in server.cli("app", "logs", "managed").stdout)
    assert "managed" in server.cli("app", "list").stdout
    server.cli("app", "stop", "managed")
    assert "managed" not in server.cli("app", "list").stdout and "stopped" in server.cli("app", "list", "--all").stdout
    missing = server.cli("app", "history", "managed", check=False)
    assert missing.returncode == 1 and "There is no deployed app managed" in missing.stderr


def test_deploying_from_python_and_by_module(server: Server) -> None:
    package = server.folder / "project" / "pkg"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "data.txt").write_text("data")
    (package / "mod.py").write_text(
        "import os, modal_lite\napp = modal_lite.App('packaged')\n@app.function()\ndef read():\n"
        "    return open(os.path.join(os.path.dirname(__file__), 'data.txt')).read()\n"
    )
    here = server.folder
    server.folder = package.parent
    server.cli("deploy", "-m", "pkg.mod")
    server.folder = here
    (package / "data.txt").write_text("edited later")
    assert server.python('show(modal_lite.Function.from_name("packaged", "read").remote())') == "data"
    script = server.folder / "scripts" / "self_deploying.py"
    script.parent.mkdir()
    script.write_text(
        "import modal_lite\napp = modal_lite.App('self')\n@app.function()\ndef f(x):\n    return x + 1\n"
        "if __name__ == '__main__':\n    app.deploy()\n    print('SHOWN', len(app.app_id))\n"
    )
    server.python(f"import runpy, sys; sys.argv = [{str(script)!r}]; runpy.run_path(sys.argv[0], run_name='__main__')")


def test_calls_of_a_client_object(server: Server) -> None:
    socket = server.directory.socket
    del server.environment["MODAL_LITE_DATA_DIR"]
    try:
        shown = server.python(
            f"""
            with modal_lite.Client.connect("unix://{socket}") as client:
                f = modal_lite.Function.lookup("app", "square", client=client)
                call = f.spawn(4)
                rows = [f.remote(3), modal_lite.FunctionCall.from_id(call.object_id, client).get()]
                rows.append(modal_lite.App.lookup("app", client=client).app_id[:3])
            show(rows)
            """
        )
    finally:
        server.environment["MODAL_LITE_DATA_DIR"] = str(server.directory.path)
    assert shown == [9, 16, "ap-"]


def test_deploying_leaves_the_event_loop_to_others(own_server: Server) -> None:
    """While a server is started for it."""
    (own_server.folder / "source.py").write_text(APP)
    ticks = own_server.python("""
        import asyncio, source

        async def main():
            deploying = asyncio.create_task(source.app.deploy.aio(name="app"))
            ticks = 0
            while not deploying.done():
                ticks += 1
                await asyncio.sleep(0.01)
            await deploying
            show(ticks)

        asyncio.run(main())
    """)
    assert ticks > 3


def test_a_version_that_is_being_removed(own_server: Server) -> None:
    """A call for it, between its last call and the end of its last container, goes to the current version."""
    source = """
        import os, time, modal_lite
        app = modal_lite.App("a")
        VERSION = "{}"

        @app.cls()
        class Slow:
            @modal_lite.exit()
            def leave(self):
                open({!r}, "w").close()
                time.sleep(2)

            @modal_lite.method()
            def version(self):
                return VERSION
    """
    left = str(own_server.folder / "left")
    own_server.start()
    own_server.deploy(source.format("one", left))
    call = 'show(modal_lite.Cls.from_name("app", "Slow")().version.remote())'
    assert own_server.python(call) == "one"
    own_server.deploy(source.format("two", left))
    wait_until(lambda: (own_server.folder / "left").exists(), "the end of the old container")
    lookup = """
        import asyncio
        from modal_lite._client import server_client
        from modal_lite._core.address import address_of
        from modal_lite._core.ids import new_id
        from modal_lite._core.payload import Payload
        from modal_lite._core.requests import LookUp, RunCall
        from modal_lite._core.serialization import dumps, loads
        from modal_lite._transport.server_channel import ServerChannel

        async def main():
            channel = ServerChannel(address_of())
            found = await channel.request(LookUp("main", "app", "Slow"))
            done = asyncio.get_running_loop().create_future()
            request = RunCall(new_id("fc"), found.function_id + ".1", None, "version")
            channel.run(request, dumps(((), {})), done.set_result)
            batch = await done
            show([loads(output.payload)[0] for output in batch.outputs])
            await channel.close()

        asyncio.run(main())
    """
    assert own_server.python(lookup) == ["two"]


def test_packages_of_an_environment_in_the_folder_of_the_app(server: Server) -> None:
    packages = server.folder / "source" / "env" / "packages"
    packages.mkdir(parents=True)
    (packages.parent / "pyvenv.cfg").touch()
    (packages / "installed_there.py").write_text("NAME = 'installed'")
    before = server.environment["PYTHONPATH"]
    server.environment["PYTHONPATH"] = f"{before}:{packages}"
    try:
        server.deploy(
            """
            import installed_there
            import modal_lite

            app = modal_lite.App("with-packages")

            @app.function()
            def name():
                return installed_there.NAME
            """,
            "with-packages",
            file="with_packages.py",
        )
    finally:
        server.environment["PYTHONPATH"] = before
    assert server.python('show(modal_lite.Function.from_name("with-packages", "name").remote())') == "installed"
