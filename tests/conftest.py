"""What every test has at hand: an installation, a daemon, the shared material. In which order files start."""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from installation import ROOT, SHARED, START_SECONDS, Installation, Running, exchange

from umbridge.screening import host

__all__ = ["ROOT", "SHARED", "START_SECONDS", "Installation", "Running", "exchange"]

# No test is timed, and no example either: on a busy machine one may take seconds.
settings.register_profile("umbridge", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("umbridge")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """The collector of garbage leaves alone what was collected of tests: half a million objects that stay.

    Going through them again and again was an eighth of the processor time of a test. A test of what is given
    back asks the collector itself.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        young, middle, _ = gc.get_threshold()
        gc.set_threshold(young, middle, 100)  # a few objects are left, and a tenth more comes soon
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests start first, and small ones last: what starts last decides when the run ends.

    The plugins' and the audit package's tests stand last in the list of folders, and some of them are long.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    here = Path(__file__).parent
    items.sort(key=lambda item: (item.path not in slow, item.path.parent == here))


@pytest.fixture(scope="session", autouse=True)
def _no_probe() -> None:
    """No question is asked twice by chance here: a plugin that says its process id would now and then fail.

    A test of the probe sets how often itself; daemons, which are processes of their own, go on probing.
    """
    host.PROBE_ONE_IN = 10**9


@pytest.fixture(scope="session", autouse=True)
def _folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    Installation.folders = tmp_path_factory
    yield
    Installation.unload()


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path / "site")


@pytest.fixture
def running(installation: Installation) -> Iterator[Running]:
    daemon = installation.start()
    yield daemon
    daemon.kill()


@pytest.fixture
def shared() -> Path:
    """The shared reference material beside the repository; a user's machine does not have it."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared beside the repository: the real messages and vignettes are not tested here")
    return SHARED
