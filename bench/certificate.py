"""The certificate of a run, made once and given to every balancer alike."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

from bench.model import Certificate, SetupError

NAME = "bench.test"
# P-256 is what most sites have today; the run is over long before it expires.
MAKE = (
    "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
    "-nodes", "-sha256", "-days", "7", "-subj", f"/CN={NAME}",
    "-addext", f"subjectAltName=DNS:{NAME}", "-addext", "basicConstraints=critical,CA:FALSE",
    "-addext", "keyUsage=digitalSignature",
)


def make(folder: Path) -> Certificate:
    made = Certificate(folder / "cert.pem", folder / "key.pem")
    argv = [*MAKE, "-keyout", str(made.key), "-out", str(made.cert)]
    ran = subprocess.run(argv, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise SetupError(f"openssl could not make a certificate:\n{ran.stderr}")
    return made


def trusting(certificate: Certificate) -> ssl.SSLContext:
    """A client that trusts this certificate alone."""
    context = ssl.create_default_context(cafile=str(certificate.cert))
    context.set_alpn_protocols(["http/1.1"])
    return context
