"""Tests of the small CA: what it signs, what it refuses, and that OpenSSL agrees."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from core.errors import Conflict, MalformedPayload, NotFound, SettingsError
from urbanpulse.certs import Authority

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path / "certs")
    made.create("Test CA", NOW, 30)
    return made


def verify(authority: Authority, name: str, purpose: str) -> bool:
    """Ask OpenSSL, with the revocation list."""
    where = authority.folder
    done = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", where / "ca.pem",
         "-crl_check", "-CRLfile", where / "crl.pem", where / f"{name}.pem"],
        capture_output=True, check=False,
    )  # fmt: skip
    return done.returncode == 0


@pytest.mark.skipif(shutil.which("openssl") is None, reason="Debian's openssl is not installed")
def test_openssl_takes_what_is_signed_for_its_use_only(authority: Authority) -> None:
    authority.issue("broker", NOW, 10, ["mqtt.city.example", "127.0.0.1", "::1"])
    authority.issue("air-1", NOW, 10)
    assert verify(authority, "broker", "sslserver")
    assert verify(authority, "air-1", "sslclient")
    assert not verify(authority, "broker", "sslclient")
    assert not verify(authority, "air-1", "sslserver")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="Debian's openssl is not installed")
def test_a_revoked_certificate_is_refused_and_its_successor_taken(authority: Authority) -> None:
    authority.issue("air-1", NOW, 10)
    authority.issue("air-2", NOW, 10)
    authority.revoke("air-1", NOW)
    authority.revoke("air-2", NOW)
    assert not verify(authority, "air-1", "sslclient")
    authority.issue("air-1", NOW, 10)
    assert verify(authority, "air-1", "sslclient")
    assert not verify(authority, "air-2", "sslclient"), "a later issue keeps earlier revocations"


def test_keys_are_for_their_owner_only(authority: Authority) -> None:
    authority.issue("air-1", NOW, 10)
    assert {path.stat().st_mode & 0o777 for path in authority.folder.glob("*.key")} == {0o600}
    assert authority.folder.stat().st_mode & 0o777 == 0o700


def test_the_list_tells_use_hosts_and_state(authority: Authority) -> None:
    authority.issue("b", NOW, 10, ["localhost"])
    authority.issue("a", NOW, 10)
    authority.revoke("a", NOW)
    listed = [(one.name, one.use, one.hosts, one.revoked) for one in authority.issued()]
    assert listed == [
        ("ca", "ca", (), False),
        ("a", "client", (), True),
        ("b", "server", ("localhost",), False),
    ]


def test_what_still_is_good_is_not_replaced(authority: Authority) -> None:
    authority.issue("air-1", NOW, 10)
    with pytest.raises(Conflict, match=r"air-1.*revoke it first"):
        authority.issue("air-1", NOW, 10)
    authority.issue("air-1", NOW + timedelta(days=11), 10)
    with pytest.raises(Conflict, match="already"):
        authority.create("Another", NOW, 30)


def test_nothing_outlives_the_ca(authority: Authority) -> None:
    assert authority.issue("air-1", NOW, 400).until == authority.issued()[0].until


@pytest.mark.parametrize("name", ["ca", "a b", "../x", "ä", ""])
def test_a_name_that_no_device_can_have_is_refused(authority: Authority, name: str) -> None:
    with pytest.raises((Conflict, MalformedPayload), match=r"name|certificate"):
        authority.issue(name, NOW, 10)


@pytest.mark.parametrize("host", ["a" * 70 + ".example", "bad host..example", ""])
def test_a_host_that_is_none_is_refused(authority: Authority, host: str) -> None:
    with pytest.raises(SettingsError, match="neither a host name nor an address"):
        authority.issue("broker", NOW, 10, [host])
    assert not (authority.folder / "broker.pem").exists()


def test_without_a_ca_the_error_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="urbanpulse certs init"):
        Authority(tmp_path).issue("air-1", NOW, 10)


def test_a_foreign_key_and_a_broken_file_are_named(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other")
    other.create("Other", NOW, 10)
    shutil.copy(other.folder / "ca.key", authority.folder / "ca.key")
    with pytest.raises(SettingsError, match=r"not the key of ca.pem"):
        authority.issue("air-1", NOW, 10)
    (authority.folder / "x.pem").write_text("nothing")
    with pytest.raises(SettingsError, match=r"x.pem is not a certificate"):
        authority.issued()


def test_nobody_unknown_is_revoked(authority: Authority) -> None:
    for name in ("air-9", "ca"):
        with pytest.raises(NotFound, match=name):
            authority.revoke(name, NOW)
