"""A child's start costs nothing: what it needs was imported before it was forked."""

from child import IMPORTED, Child

PROBE = f"import sys; sys.exit({IMPORTED!r} not in sys.modules)"


def test_a_child_is_forked_from_a_process_that_has_imported_what_it_needs() -> None:
    assert Child(exec, PROBE).exit_code(within_s=60.0) == 0
