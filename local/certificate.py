"""The local certificate authority and the server's certificate, made anew for each server."""

from pathlib import Path

import trustme


def make(directory: Path) -> None:
    """Write `ca.pem`, which clients trust, and `certificate.pem`, the server's key and certificate for 127.0.0.1.

    The authority's own key is not kept, so nobody can sign with it.
    """
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    certificate = directory / "certificate.pem"
    certificate.touch(mode=0o600)
    certificate.chmod(0o600)
    authority.issue_cert("127.0.0.1", "localhost").private_key_and_cert_chain_pem.write_to_path(str(certificate))
