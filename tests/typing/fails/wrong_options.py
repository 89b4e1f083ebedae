"""Options that `@app.function()` does not take."""

import modal_lite

app = modal_lite.App("typed")


@app.function(no_such_option=1)  # E: no_such_option|No overload variant
def option(x: int) -> int:
    return x


@app.function(timeout="soon")  # E: incompatible type "str"|No overload variant
def timeout(x: int) -> int:
    return x


modal_lite.Retries()  # E: Missing (named|positional) argument "max_retries"
modal_lite.Retries(max_retries="3")  # E: incompatible type "str"; expected "int"
modal_lite.Secret.from_dict(["A"])  # E: incompatible type "list
