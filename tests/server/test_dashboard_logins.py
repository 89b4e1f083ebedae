"""Links and sessions of browsers: what they are good for, and how long."""

from modal_lite._server.dashboard.logins import IDLE, LINK_LIFE, MAX_LINKS, MAX_SESSIONS, Logins


class World:
    """A clock, and tokens."""

    def __init__(self) -> None:
        self.now = 0.0
        self.tokens: set[str | None] = {None, "token"}
        self.logins = Logins(lambda digest: digest in self.tokens, lambda: self.now)


def test_a_link_begins_one_session() -> None:
    world = World()
    link = world.logins.new_link("token")
    secret = world.logins.redeem(link)
    assert secret is not None and world.logins.redeem(link) is None
    login = world.logins.find(secret)
    assert login is not None and login.token == "token" and login.sent(login.csrf) and not login.sent("")
    assert world.logins.find(link) is None and world.logins.redeem(secret) is None


def test_an_old_link() -> None:
    world = World()
    link = world.logins.new_link(None)
    world.now = LINK_LIFE + 1
    assert world.logins.redeem(link) is None


def test_a_session_ends_when_it_is_not_used() -> None:
    world = World()
    secret = world.logins.begin(None)
    for _ in range(3):
        world.now += IDLE - 1
        assert world.logins.find(secret) is not None
    world.now += IDLE - 1
    # Asking whether it lasts is no use of it.
    assert world.logins.lasts(secret)
    world.now += 2
    assert not world.logins.lasts(secret) and world.logins.find(secret) is None


def test_a_revoked_token_ends_its_links_and_sessions_and_no_others() -> None:
    world = World()
    link, secret, other = world.logins.new_link("token"), world.logins.begin("token"), world.logins.begin(None)
    world.tokens.discard("token")
    assert world.logins.redeem(link) is None
    assert not world.logins.lasts(secret) and world.logins.find(secret) is None
    assert world.logins.find(other) is not None


def test_the_oldest_make_room() -> None:
    world = World()
    links = [world.logins.new_link(None) for _ in range(MAX_LINKS + 1)]
    assert world.logins.redeem(links[0]) is None and world.logins.redeem(links[1]) is not None
    sessions = [world.logins.begin(None) for _ in range(MAX_SESSIONS + 1)]
    assert world.logins.find(sessions[0]) is None and world.logins.find(sessions[-1]) is not None


def test_ending_a_session() -> None:
    world = World()
    secret = world.logins.begin(None)
    world.logins.end(secret)
    world.logins.end(secret)
    assert world.logins.find(secret) is None
