"""The app of the tests of Images and Volumes; containers import this module."""

import warnings

import modal_lite

app = modal_lite.App("image-tests")
here = modal_lite.Image.debian_slim()
elsewhere = modal_lite.Image.debian_slim().pip_install("no-such-package")
volume = modal_lite.Volume.from_name("data", create_if_missing=True)

with here.imports():
    import json

with elsewhere.imports():
    import no_such_package_at_all  # type: ignore[import-not-found]  # noqa: F401

with warnings.catch_warnings():
    warnings.simplefilter("ignore")

    @app.function(image=here)
    def uses_what_is_here() -> str:
        return json.dumps([1])

    @app.function(image=elsewhere)
    def uses_what_is_missing() -> None: ...

    @app.cls(image=elsewhere)
    class UsesWhatIsMissing:
        @modal_lite.method()
        def method(self) -> None: ...

    @app.function(volumes={"/data": volume})
    def commit() -> str:
        volume.commit()
        volume.reload()
        return repr(volume)
