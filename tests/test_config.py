"""Settings: arguments before variables, variables before the profile, that before defaults; bad files."""

import os
from pathlib import Path

import pytest

from modal_lite import config
from modal_lite._core.address import address_of
from modal_lite.exception import InvalidError

FILE = """
# kept as it is
profile = "work"   # the one in use

[profiles.work]
server_url = "https://work:8000"
token = "of-work"
ca_file = "/work/ca.pem"
environment = "staging"
data_dir = "/work/data"

[profiles.home]
environment = "home"
"""


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The config file; no variable says anything else."""
    for name in [name for name in os.environ if name.startswith("MODAL_")]:
        monkeypatch.delenv(name)
    made = tmp_path / "config.toml"
    monkeypatch.setenv("MODAL_LITE_CONFIG_PATH", str(made))
    return made


def write(path: Path, text: str, mode: int = 0o600) -> None:
    path.write_text(text)
    path.chmod(mode)


def test_defaults(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert config.server_url() is config.token() is config.ca_file() is None
    assert (config.environment_name(), config.active_profile(), config.profiles()) == ("main", "default", {})
    assert config.data_dir().name == "modal-lite"
    monkeypatch.delenv("MODAL_LITE_CONFIG_PATH")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    import platformdirs

    assert config.config_path() == platformdirs.user_config_path("modal-lite", appauthor=False) / "config.toml"


def test_the_profile_that_the_file_activates(path: Path) -> None:
    write(path, FILE)
    address = address_of()
    assert (address.url, address.token, address.ca_file) == ("https://work:8000", "of-work", "/work/ca.pem")
    assert (config.environment_name(), config.data_dir()) == ("staging", Path("/work/data"))


def test_variables_come_before_the_profile(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, FILE)
    monkeypatch.setenv("MODAL_LITE_TOKEN", "of-the-variable")
    monkeypatch.setenv("MODAL_LITE_CA_FILE", "/other.pem")
    monkeypatch.setenv("MODAL_ENVIRONMENT", "variable")
    address = address_of()
    assert (address.url, address.token, address.ca_file) == ("https://work:8000", "of-the-variable", "/other.pem")
    assert config.environment_name() == "variable"
    monkeypatch.setenv("MODAL_LITE_SERVER_URL", "http://variable:1")
    assert address_of().url == "http://variable:1"
    monkeypatch.setenv("MODAL_LITE_DATA_DIR", "/variable")
    assert config.data_dir() == Path("/variable")


def test_arguments_come_first(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, FILE)
    monkeypatch.setenv("MODAL_LITE_SERVER_URL", "http://variable:1")
    monkeypatch.setenv("MODAL_LITE_TOKEN", "of-the-variable")
    address = address_of("http://argument:2", "of-the-argument")
    assert (address.url, address.token) == ("http://argument:2", "of-the-argument")
    assert config.environment_name("argument") == "argument"


def test_the_token_of_a_profile_is_for_its_server_alone(path: Path) -> None:
    write(path, FILE)
    assert address_of("https://other:8000").token is None
    assert address_of("https://work:8000/").token == "of-work"


def test_a_data_directory_that_is_named_means_its_own_server(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, FILE)
    monkeypatch.setenv("MODAL_LITE_DATA_DIR", "/here")
    assert address_of().url == "unix:///here/server.sock"


def test_the_variable_names_another_profile(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, FILE)
    monkeypatch.setenv("MODAL_LITE_PROFILE", "home")
    assert (config.environment_name(), config.server_url()) == ("home", None)


def test_activating_changes_that_line_alone(path: Path) -> None:
    write(path, FILE)
    config.activate_profile("home")
    assert path.read_text() == FILE.replace('profile = "work"   # the one in use', 'profile = "home"')
    assert config.active_profile() == "home" and path.stat().st_mode & 0o777 == 0o600
    write(path, "[profiles.one]\n")
    config.activate_profile("one")
    assert path.read_text() == 'profile = "one"\n[profiles.one]\n'
    with pytest.raises(InvalidError, match=r"no profile 'two' in .*config.toml: there is one"):
        config.activate_profile("two")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("profile = ", "is no TOML"),
        ("profile = 3", 'profile must be text. Write profile = "NAME".'),
        ("server_url = 'x'", r"server_url is not known. Write profile = \"NAME\" and tables \[profiles.NAME\]"),
        ("profiles = 3", r"profiles must be tables. Write \[profiles.NAME\]"),
        ("[profiles]\nx = 3", r"profiles.x must be a table. Write \[profiles.x\]"),
        ("[profiles.x]\nurl = 'y'", "profiles.x.url is not known. A profile can have server_url, token"),
        ("[profiles.x]\ntoken = 3", r'profiles.x.token must be text. Write token = "..."'),
        ("[profiles.'a b']", "profiles.a b: give the profile a name of letters"),
        ("profile = 'gone'\n[profiles.x]", r"profile names the profile 'gone', .* There is x; add \[profiles.gone\]"),
    ],
)
def test_files_that_make_no_sense(path: Path, text: str, message: str) -> None:
    write(path, text)
    with pytest.raises(InvalidError, match=message) as refused:
        config.environment_name()
    assert str(path) in str(refused.value)


def test_a_profile_of_the_variable_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODAL_LITE_PROFILE", "gone")
    with pytest.raises(InvalidError, match="MODAL_LITE_PROFILE names the profile 'gone'.*There are no profiles"):
        config.environment_name()


def test_a_token_that_others_can_read(path: Path) -> None:
    write(path, FILE, 0o644)
    with pytest.raises(InvalidError, match=f"chmod 600 {path}"):
        config.server_url()
    write(path, "[profiles.x]\nenvironment = 'y'\n", 0o644)
    assert config.environment_name() == "main"


def test_a_file_that_cannot_be_read(path: Path) -> None:
    path.mkdir()
    with pytest.raises(InvalidError, match="cannot be read"):
        config.server_url()


def test_a_file_of_certificates_without_any(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODAL_LITE_CA_FILE", str(tmp_path / "none.pem"))
    with pytest.raises(InvalidError, match="none.pem"):
        address_of("https://work:8000").tls()
    (tmp_path / "none.pem").write_text("nothing")
    with pytest.raises(InvalidError, match="has no certificates"):
        address_of("https://work:8000").tls()


@pytest.mark.parametrize("address", ["auto", "head:6379", "ray://head:10001"])
def test_where_ray_is(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert config.ray_address() == address


def test_ray_is_not_where_a_web_server_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "http://head:8265")
    with pytest.raises(InvalidError, match="it can be auto, host:port, or ray://host:port"):
        config.ray_address()
