import pickle
import sys
from pathlib import Path
from typing import Any

import pytest

from modal_lite.exception import InvalidError
from modal_lite.secret import Secret


def test_from_dict_drops_none_and_hides_values() -> None:
    secret = Secret.from_dict({"TOKEN": "swordfish", "B": "", "NOT": None})
    assert secret.variables == {"TOKEN": "swordfish", "B": ""}
    assert repr(secret) == "Secret(B, TOKEN)"
    secret.variables["C"] = "changes a copy"
    assert secret.variables == {"TOKEN": "swordfish", "B": ""}
    assert pickle.loads(pickle.dumps(secret)).variables == secret.variables


@pytest.mark.parametrize("value", [{"A": 1}, {"A": b"x"}, {1: "x"}, {"": "x"}, {"A=B": "x"}, {"A": "\0"}, ["A"], None])
def test_from_dict_refuses_what_is_no_variable(value: Any) -> None:
    with pytest.raises(InvalidError, match=r"^Secret\.from_dict"):
        Secret.from_dict(value)


def test_a_refused_value_is_not_shown() -> None:
    with pytest.raises(InvalidError) as caught:
        Secret.from_dict({"PIN": 123456789})  # type: ignore[dict-item]
    assert str(caught.value) == "Secret.from_dict: the value of 'PIN' is of type int; it must be a string or None."


def test_from_local_environ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODAL_LITE_A", "1")
    monkeypatch.delenv("MODAL_LITE_B", raising=False)
    assert Secret.from_local_environ(["MODAL_LITE_A"]).variables == {"MODAL_LITE_A": "1"}
    with pytest.raises(InvalidError, match=r"not set in this environment: MODAL_LITE_B\.$"):
        Secret.from_local_environ(["MODAL_LITE_A", "MODAL_LITE_B"])
    with pytest.raises(InvalidError, match=r"write \['MODAL_LITE_A'\]"):
        Secret.from_local_environ("MODAL_LITE_A")


def test_direct_construction_names_the_factories() -> None:
    with pytest.raises(InvalidError, match=r"Secret\.from_dict"):
        Secret()


def test_from_dotenv_looks_upwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dotenv")
    (tmp_path / ".env").write_text("A=1\nB='two words'\n# comment\nEMPTY\n")
    deep = tmp_path / "x" / "y"
    deep.mkdir(parents=True)
    (deep / "app.py").touch()
    (deep / ".env.test").write_text("A=test\n")
    assert Secret.from_dotenv(deep).variables == {"A": "1", "B": "two words"}
    assert Secret.from_dotenv(deep / "app.py").variables["A"] == "1"
    assert Secret.from_dotenv(deep, filename=".env.test").variables == {"A": "test"}
    monkeypatch.chdir(deep)
    assert Secret.from_dotenv().variables["A"] == "1"
    with pytest.raises(InvalidError, match=r"there is no file '\.env\.none'"):
        Secret.from_dotenv(filename=".env.none")


def test_from_dotenv_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dotenv", None)
    with pytest.raises(InvalidError, match=r"pip install 'modal-lite\[dotenv\]'"):
        Secret.from_dotenv()
