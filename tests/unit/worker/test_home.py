"""When data at home is another than what was read: once, and not while it is being written."""

from latecomer.clock import ManualClock
from latecomer_worker.home import SETTLED_S, Home


class Shelf:
    """Data as it looks from outside."""

    def __init__(self) -> None:
        self.looks = "10 rows"
        self.clock = ManualClock()
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
