"""The stack on a local AWS, deployed as `make up` does it: one for all tests of a process.

`under_stress/` has the tests that fill the ledger, or break or replace a function. They run last.
"""

import inspect
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from local import lifecycle
from local.connection import Connection
from local.deployment import Deployment
from local.up import stack_name, up
from tests.local.end_to_end.watching import new_device
from tests.local.observing import Queue

AT_ONCE = 4
"""The most overlapping tests that run at a time. More of them would wait for the server's one processor."""

RUNNING = pytest.StashKey[dict[str, Future[None]]]()


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The state directory of the local AWS; `env` is in it."""
    directory = tmp_path_factory.mktemp("deployed")
    try:
        up(directory)
        yield directory
    finally:
        lifecycle.stop(directory)


@pytest.fixture(scope="session")
def deployment(state: Path) -> Deployment:
    return Deployment.find(Connection.read(state / "env"), stack_name(state))


@pytest.fixture
def mail(deployment: Deployment) -> Iterator[Callable[[], list[str]]]:
    """What the notices topic sent since the test began, in order of arrival. The first line of each is its subject."""
    sns, topic, sent = deployment.aws.client("sns"), deployment.outputs["NoticesTopicArn"], []
    box = Queue(deployment.aws, f"mail-{new_device()}", {})
    box.let_send("sns")
    subscribed = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=box.arn)

    def come() -> list[str]:
        while got := deployment.sqs.receive_message(QueueUrl=box.url, MaxNumberOfMessages=10).get("Messages"):
            for message in got:
                letter = json.loads(message["Body"])
                sent.append(f"{letter.get('Subject')}\n{letter['Message']}")
                deployment.sqs.delete_message(QueueUrl=box.url, ReceiptHandle=message["ReceiptHandle"])
        return sent

    yield come
    sns.unsubscribe(SubscriptionArn=subscribed["SubscriptionArn"])
    deployment.sqs.delete_queue(QueueUrl=box.url)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "overlapping: runs in a thread, at the same time as others of this mark")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of the tests here, those that overlap come first: nothing else may run meanwhile. `under_stress/` is last."""
    here = [index for index, item in enumerate(items) if Path(__file__).parent in item.path.parents]

    def order(item: pytest.Item) -> int:
        return 2 if "under_stress" in item.path.parts else 0 if item.get_closest_marker("overlapping") else 1

    in_order = sorted((items[index] for index in here), key=order)
    for index, item in zip(here, in_order, strict=True):
        item.add_marker(pytest.mark.local_aws)
        item.add_marker(pytest.mark.slow)
        items[index] = item


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Start the overlapping tests with the first of them, a few at a time; each is over when its own thread is."""
    if not pyfuncitem.get_closest_marker("overlapping"):
        return None
    session = pyfuncitem.session
    if RUNNING not in session.stash:
        running = session.stash[RUNNING] = {}
        overlapping = [item for item in session.items if item.get_closest_marker("overlapping")]
        pool = ThreadPoolExecutor(AT_ONCE)
        for item in overlapping:
            assert isinstance(item, pytest.Function)
            names = inspect.signature(item.obj).parameters
            arguments = {name: pyfuncitem._request.getfixturevalue(name) for name in names}
            running[item.nodeid] = pool.submit(item.obj, **arguments)
    session.stash[RUNNING][pyfuncitem.nodeid].result()
    return True
