"""The source of the app that the tests of this folder deploy."""

APP = '''
import os, sys, time
import modal_lite

app = modal_lite.App("in-the-file")
VERSION = "one"


def wait_for(path):
    while not os.path.exists(path):
        time.sleep(0.01)


@app.function()
def version():
    return VERSION


@app.function()
def square(x):
    return x * x


@app.function()
def length(data):
    return len(data)


@app.function()
def gate(path):
    with open(path + ".started", "a") as file:
        file.write("started\\n")
    wait_for(path)
    return VERSION


@app.function()
def logged(path, x, seconds=0.0):
    """Says in a file that it ran for x."""
    with open(path, "a") as file:
        file.write(f"{x}\\n")
    time.sleep(seconds)
    return x


@app.function()
def fails():
    raise ValueError("failed there")


@app.function()
def parent():
    return square.remote(2) + square.remote(3)


@app.function()
def spawner():
    return square.spawn(5).object_id


@app.function()
def numbers(n):
    yield from range(n)


@app.function()
def slowly(x):
    time.sleep(0.002)
    return x * x


@app.function()
def drip(n):
    for i in range(n):
        time.sleep(0.005)
        yield i


@app.function()
def through(app_name, tag, x):
    return modal_lite.Function.from_name(app_name, tag).remote(x)


@app.function()
def applied(function, x):
    return function.remote(x)


@app.function()
def surroundings():
    return os.environ["MODAL_ENVIRONMENT"], os.getcwd(), __file__


@app.function()
def talk(text):
    print(text, flush=True)


@app.cls()
class Model:
    name: str = modal_lite.parameter(default="plain")

    @modal_lite.enter()
    def start(self):
        self.ready = True

    @modal_lite.method()
    def predict(self, x):
        return f"{self.name}:{x}:{self.ready}"

    @modal_lite.method()
    def count(self, n):
        yield from range(n)
'''
