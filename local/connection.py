"""A connection to the local AWS as one principal, from Python or as the environment of another client."""

import os
import shlex
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

import boto3
import botocore.session
import urllib3
from botocore.config import Config

from local.account import REGION
from local.lifecycle import Server

OWN_SETTINGS = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}
"""Session variables of botocore that keep the machine's profiles out."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Endpoint, certificate authority, credentials and region."""

    endpoint: str
    ca: Path
    access_key_id: str
    secret_access_key: str
    session_token: str | None = None
    region: str = REGION

    @classmethod
    def to(cls, server: Server, credentials: dict[str, str]) -> Self:
        """Return a connection to a running server; `credentials` has `access_key_id` and `secret_access_key`."""
        return cls(server.endpoint, server.ca, **credentials)

    @classmethod
    def read(cls, environment: Path) -> Self:
        """Return the connection that an environment file such as `.local/env` describes."""
        lines = (line.partition("=") for line in environment.read_text().splitlines())
        values = {name: "".join(shlex.split(value)) for name, _, value in lines}
        return cls(
            values["AWS_ENDPOINT_URL"],
            Path(values["AWS_CA_BUNDLE"]),
            values["AWS_ACCESS_KEY_ID"],
            values["AWS_SECRET_ACCESS_KEY"],
        )

    def client(self, service: str, config: Config | None = None) -> Any:
        """Return a boto3 client. It ignores the machine's own AWS settings and proxies."""
        session: Any = boto3.Session(
            botocore_session=botocore.session.Session(OWN_SETTINGS),
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            aws_session_token=self.session_token,
            region_name=self.region,
        )
        direct = Config(proxies={}).merge(config or Config())
        return session.client(service, endpoint_url=self.endpoint, verify=str(self.ca), config=direct)

    def control(self, method: str, path: str, body: bytes | None = None) -> tuple[int, str]:
        """Call a control, `/_emulator/…` or `/_local/…`, and return the status and the text of the answer."""
        answer = _pool(self.endpoint, self.ca).request(
            method, self.endpoint + path, body=body, retries=False, timeout=60
        )
        return answer.status, answer.data.decode()

    def environment(self) -> dict[str, str]:
        """Return the variables that make any AWS client use this connection: boto3, the AWS CLI, Node.js, other SDKs.

        Some of them override what the shell may have:

        - A session token would be sent with our key. An empty one counts as none for botocore and the SDK for
          JavaScript. botocore reads the older name first.
        - A proxy can't reach this machine's loopback interface. Python prefers the name in lower case.
          https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-proxy.html
        """
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ENDPOINT_URL_WORKMAIL": self.endpoint,
            "AWS_CA_BUNDLE": str(self.ca),
            "NODE_EXTRA_CA_CERTS": str(self.ca),
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_SESSION_TOKEN": self.session_token or "",
            "AWS_SECURITY_TOKEN": self.session_token or "",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            "AWS_DEFAULT_REGION": self.region,
            "AWS_REGION": self.region,
        }


@cache
def _pool(endpoint: str, ca: Path) -> urllib3.PoolManager:
    """Keep connections to a server, because a TLS handshake takes longer than most answers.

    A new server has another endpoint, and another certificate authority in the same file.
    """
    del endpoint
    return urllib3.PoolManager(ca_certs=str(ca), maxsize=10)
