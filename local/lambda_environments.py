"""Starts Lambda execution environments before the first invocation.

AWS has provisioned concurrency for that, but only for published versions.
"""

# ruff: noqa: SLF001 - MiniStack has no public names for this

from concurrent.futures import ThreadPoolExecutor

from ministack.core import lambda_runtime, responses
from ministack.services import lambda_svc

from local.account import ACCOUNT, REGION


def start(function: str, count: int) -> None:
    """Start `count` environments of a function and leave them idle. Raises what their initialization raises.

    It blocks, so it must not run in the event loop.
    """
    responses.set_request_account_id(ACCOUNT)
    responses.set_request_region(REGION)
    record, config, name = lambda_svc._get_func_record_for_ref(function)
    if record is None or config is None:
        raise LookupError(f"there is no function {function}")
    code = lambda_svc._execution_record_for_config(record, config)["code_zip"]
    workers = [lambda_runtime.acquire_worker(name, config, code)[0] for _ in range(count)]
    try:
        lambda_runtime.ensure_spawned(workers[0])  # alone, because it writes bytecode for the others
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(lambda_runtime.ensure_spawned, workers))
    finally:
        for worker in workers:
            lambda_runtime.release_worker(worker)
