"""The local certificate authority and the server's certificate, made anew for each server."""

from pathlib import Path

import trustme


def make(directory: Path) -> None:
    """Write `ca.pem`, for clients to trust, and `certificate.pem`, key and certificate of 127.0.0.1, for the server.

    The authority's own key is not kept: nothing else can be signed by it.
    """
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    certificate = directory / "certificate.pem"
    certificate.touch(mode=0o600)
    certificate.chmod(0o600)
    authority.issue_cert("127.0.0.1", "localhost").private_key_and_cert_chain_pem.write_to_path(str(certificate))
