"""Tokens: shown once, kept as hashes, refused once revoked."""

import stat
from pathlib import Path

import pytest

from modal_lite._core import tokens
from modal_lite._core.tokens import Tokens, digest_of
from modal_lite.exception import AlreadyExistsError, InvalidError, NotFoundError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


def test_a_token_is_admitted_until_it_is_revoked(path: Path) -> None:
    made, of_server = Tokens(path), Tokens(path)
    one, two = made.new("one"), made.new("two")
    assert one != two and of_server.admits(digest_of(one), None)
    assert not of_server.admits(digest_of("x"), None) and not of_server.admits(digest_of(""), None)
    assert of_server.admits(digest_of("given"), digest_of("given"))
    made.revoke("one")
    assert not of_server.admits(digest_of(one), None) and of_server.admits(digest_of(two), None)


def test_the_file_tells_no_token_and_is_for_this_user(path: Path) -> None:
    text = Tokens(path).new("one")
    assert text not in path.read_text() and digest_of(text) in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_every_token_is_compared_in_constant_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, compared = Tokens(path), []
    texts = [made.new(name) for name in ("one", "two", "three")]
    real = tokens.hmac.compare_digest
    monkeypatch.setattr(tokens.hmac, "compare_digest", lambda a, b: compared.append(b) or real(a, b))
    for text in (*texts, "wrong"):
        compared.clear()
        made.admits(digest_of(text), digest_of("given"))
        assert compared == [digest_of(each) for each in (*texts, "given")]


def test_what_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Tokens(path)
    made.new("one")
    with pytest.raises(AlreadyExistsError, match="modal-lite token revoke one"):
        made.new("one")
    for name in ("", "x" * 101, "a\nb"):
        with pytest.raises(InvalidError, match="name of a token"):
            made.new(name)
    with pytest.raises(NotFoundError, match="no token two"):
        made.revoke("two")
    monkeypatch.setattr(tokens, "MAX_TOKENS", 1)
    with pytest.raises(InvalidError, match="There are 1 tokens"):
        made.new("two")
    path.write_text("{")
    with pytest.raises(InvalidError, match="damaged"):
        Tokens(path).all()
