"""Ends every session by saying which servers were exercised, and by stopping ours."""

import logging
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import structlog

import servers
from server import in_ci


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--chaos",
        choices=("short", "full"),
        default="short",
        help="short: first crashes, a few faults; full: every crash twice, ten minutes of soak",
    )


def pytest_configure() -> None:
    # pika reports every refused connection on seven lines; tests refuse hundreds on purpose.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    # How long an example takes says how busy the machine is, and nothing about the code.
    hypothesis.settings.register_profile("latecomer", deadline=None)
    hypothesis.settings.load_profile("latecomer")


@pytest.fixture(autouse=True)
def _unconfigured_logs() -> Iterator[None]:
    """A command configures the process's logging; the next test starts without."""
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """One of the processes that pytest-xdist started says what it exercised, or was killed."""
    servers.heard(getattr(node, "workeroutput", {}).get("servers", {}))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["servers"] = servers.told()
    elif in_ci() and servers.missing() and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure(config: pytest.Config) -> None:
    lines = servers.report()
    servers.discard_all()
    # After pytest's own last line, so that nobody overlooks it.
    for line in lines:
        config.get_terminal_writer().line(line)
