"""What sslyze finds at our defaults: nothing. tools/setup.sh gives it an environment of its own, as
it wants an old `cryptography`."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.flow.conftest import Site
from tests.flow.tls.peers import Authority, TlsOrigin, answers

SSLYZE = shutil.which("sslyze") or shutil.which(
    Path(__file__).parents[3] / "build" / "sslyze" / "bin" / "sslyze")
SCANS = [f"--{scan}" for scan in (
    "certinfo", "sslv2", "sslv3", "tlsv1", "tlsv1_1", "tlsv1_2", "tlsv1_3", "compression",
    "early_data", "openssl_ccs", "fallback", "heartbleed", "robot", "reneg", "resum",
    "elliptic_curves")]
CIPHERS = {
    "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256",
    *(f"TLS_ECDHE_{kind}_WITH_{cipher}" for kind in ("ECDSA", "RSA") for cipher in (
        "AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256")),
}


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.skipif(SSLYZE is None, reason="sslyze isn't installed")
def test_nothing_weak_is_found(
    secure_site: Callable[..., Site], authority: Authority, tmp_path: Path
) -> None:
    origin = TlsOrigin(answers)
    made = secure_site([origin.address], threads=2, tls={"certificates": [
        authority.files("localhost"),
        authority.files("localhost", key_type=trustme.KeyType.RSA)]})
    assert SSLYZE is not None
    done = subprocess.run(
        [SSLYZE, f"--json_out={tmp_path}/found.json", "--mozilla_config=disable", *SCANS,
         f"--certinfo_ca_file={authority.cert}", f"localhost:{made.listener.port}"],
        capture_output=True, text=True, timeout=180)
    scan = json.loads((tmp_path / "found.json").read_text())["server_scan_results"][0]
    found: dict[str, Any] = {
        name: one["result"] for name, one in scan["scan_result"].items() if one["result"]}
    accepted = {name: {suite["cipher_suite"]["name"] for suite in one["accepted_cipher_suites"]}
                for name, one in found.items() if name.endswith("_cipher_suites")}
    assert {name for name, suites in accepted.items() if suites} == {
        "tls_1_2_cipher_suites", "tls_1_3_cipher_suites"}, done.stdout
    assert set.union(*accepted.values()) == CIPHERS
    assert not found["heartbleed"]["is_vulnerable_to_heartbleed"]
    assert not found["openssl_ccs_injection"]["is_vulnerable_to_ccs_injection"]
    assert found["robot"]["robot_result"] == "NOT_VULNERABLE_RSA_NOT_SUPPORTED"
    assert not found["tls_compression"]["supports_compression"]
    renegotiation = found["session_renegotiation"]
    assert renegotiation["supports_secure_renegotiation"]
    assert not renegotiation["is_vulnerable_to_client_renegotiation_dos"]
    assert not found["tls_1_3_early_data"]["supports_early_data"]
    assert found["tls_fallback_scsv"]["supports_fallback_scsv"]
    assert found["session_resumption"]["tls_ticket_resumption_result"] == "FULLY_SUPPORTED"
    assert {curve["name"] for curve in found["elliptic_curves"]["supported_curves"]} == {
        "X25519", "secp256r1", "secp384r1"}
    origin.close()
