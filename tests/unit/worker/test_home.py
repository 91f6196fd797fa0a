"""When data at home is another than what was read: once, and not while it is being written."""

from structlog.testing import capture_logs

from latecomer.clock import ManualClock
from latecomer_worker.home import AGAIN_S, RESTLESS_S, SETTLED_S, Home


class Shelf:
    """Data as it looks from outside."""

    def __init__(self, clock: ManualClock | None = None) -> None:
        self.looks = "10 rows"
        self.clock = clock or ManualClock()
        self.home = Home(lambda: self.looks, self.clock)
        self.home.reading()


def test_what_was_read_is_no_news_however_long_it_lies_there() -> None:
    shelf = Shelf()
    for _ in range(3):
        shelf.clock.advance(SETTLED_S)
        assert not shelf.home.changed()


def test_what_is_new_is_told_once_it_has_been_the_same_for_a_while() -> None:
    shelf = Shelf()
    shelf.looks = "11 rows"
    assert not shelf.home.changed()
    shelf.clock.advance(SETTLED_S - 1)
    assert not shelf.home.changed()
    shelf.clock.advance(1)
    assert shelf.home.changed()
    shelf.home.reading()
    assert not shelf.home.changed()


class SetBack(ManualClock):
    """Its calendar goes back as long as it runs."""

    def now_s(self) -> float:
        return -self.monotonic_s()


def test_how_long_it_has_been_the_same_is_not_told_by_the_calendar() -> None:
    shelf = Shelf(SetBack())
    shelf.looks = "11 rows"
    assert not shelf.home.changed()
    shelf.clock.advance(SETTLED_S)
    assert shelf.home.changed()


def test_what_is_being_written_is_left_alone() -> None:
    shelf = Shelf()
    for rows in range(11, 20):
        shelf.looks = f"{rows} rows"
        shelf.clock.advance(SETTLED_S / 2)
        assert not shelf.home.changed()


def test_what_was_put_back_is_no_news() -> None:
    shelf = Shelf()
    shelf.looks = "half of them"
    assert not shelf.home.changed()
    shelf.looks = "10 rows"
    shelf.clock.advance(2 * SETTLED_S)
    assert not shelf.home.changed()


def test_what_is_written_while_it_is_read_is_news() -> None:
    shelf = Shelf()
    shelf.home.reading()
    shelf.looks = "written meanwhile"
    shelf.home.changed()
    shelf.clock.advance(SETTLED_S)
    assert shelf.home.changed()


def test_what_could_not_be_used_is_tried_again_after_a_while() -> None:
    shelf = Shelf()
    shelf.home.failed()
    shelf.clock.advance(AGAIN_S - 1)
    assert not shelf.home.changed()
    shelf.clock.advance(1)
    assert shelf.home.changed()
    shelf.home.reading()
    shelf.clock.advance(2 * AGAIN_S)
    assert not shelf.home.changed()


def test_who_never_leaves_it_alone_is_told_once() -> None:
    shelf = Shelf()
    with capture_logs() as logs:
        for rows in range(int(3 * RESTLESS_S / SETTLED_S)):
            shelf.looks = f"{rows + 11} rows"
            assert not shelf.home.changed()
            shelf.clock.advance(SETTLED_S / 2)
        assert [each["event"] for each in logs] == ["data.restless"]
        shelf.clock.advance(SETTLED_S)
        assert shelf.home.changed()
        shelf.home.reading()
        shelf.looks = "written quickly"
        assert not shelf.home.changed()
        shelf.clock.advance(RESTLESS_S)
        assert shelf.home.changed()
    assert len(logs) == 1
