"""This module is a small certificate authority: one city CA that signs servers and clients, and a revocation list.

A client's common name is its device id (or the name of a service), so a broker that takes the certificate's name as
the user name (`use_identity_as_username` of Mosquitto) needs no password list at all. Keys are ECDSA P-256, written
with mode 0600 and never printed; the CA's key belongs off the machine that serves. Not for the public web.
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from core.city import check_name
from core.errors import Conflict, NotFound, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["Authority", "Issued"]

_CA, _CRL = "ca", "crl.pem"
_BACKDATE = timedelta(minutes=5)  # devices' clocks run behind
_CRL_DAYS = 3650  # a list that runs out locks every device out; it is renewed by each revocation


@dataclass(frozen=True, slots=True)
class Issued:
    """One certificate: `use` is `ca`, `server` or `client`; `hosts` are a server's names."""

    name: str
    use: str
    hosts: tuple[str, ...]
    serial: int
    until: datetime
    revoked: bool


class Authority:
    """The CA whose files lie in *folder*: `ca.pem`, `ca.key`, `crl.pem`; `<name>.pem`, `<name>.key` for the rest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def create(self, title: str, now: datetime, days: int) -> None:
        """Make the CA and an empty revocation list.

        Raises:
            Conflict: there is one; a new CA would lock out every device.
        """
        if (self.folder / f"{_CA}.pem").exists():
            raise Conflict(f"{self.folder}: there is a certificate authority already")
        key = ec.generate_private_key(ec.SECP256R1())
        name = _named(title)
        certificate = (
            _builder(name, name, key.public_key(), now, days)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(ca=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._write(_CA, certificate, key)
        self._publish(now, [])

    def issue(self, name: str, now: datetime, days: int, hosts: Sequence[str] = ()) -> Issued:
        """Sign a key pair for *name*: a server of *hosts* (DNS names, IP addresses), or a client if there are none.

        A revoked or expired one of the same name is replaced.

        Raises:
            MalformedPayload: *name* cannot be a device's id.
            NotFound: there is no CA here.
            Conflict: *name* has a certificate that is still good.
        """
        if check_name("certificate", name) == _CA:
            raise Conflict("the name 'ca' is the authority's own")
        authority, signer = self._authority()
        if any(old.name == name and not old.revoked and old.until > now for old in self.issued()):
            raise Conflict(f"{name}: has a certificate that is still good; revoke it first")
        key = ec.generate_private_key(ec.SECP256R1())
        days = min(days, (authority.not_valid_after_utc - now) // timedelta(days=1))
        use = ExtendedKeyUsageOID.SERVER_AUTH if hosts else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            _builder(_named(name), authority.subject, key.public_key(), now, days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        )
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False
            )
        self._write(name, builder.sign(signer, hashes.SHA256()), key)
        return next(one for one in self.issued() if one.name == name)

    def revoke(self, name: str, now: datetime) -> None:
        """Put *name*'s certificate on the revocation list.

        Raises:
            NotFound: it has none.
        """
        found = next((one for one in self.issued() if one.name == name and one.use != _CA), None)
        if found is None:
            raise NotFound(f"{self.folder}: no certificate for {name!r}")
        self._publish(now, [*(one for one in self._revocations() if one.serial_number != found.serial),
                            _revoked(found.serial, now)])  # fmt: skip

    def issued(self) -> list[Issued]:
        """Return every certificate in the folder, the CA's first, then by name."""
        gone = {one.serial_number for one in self._revocations()}
        found = [_describe(path.stem, self._load(path), gone) for path in self._certificates()]
        return sorted(found, key=lambda one: (one.use != _CA, one.name))

    # -- files

    def _certificates(self) -> Iterator[Path]:
        return (path for path in self.folder.glob("*.pem") if path.name != _CRL)

    def _authority(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        if not (self.folder / f"{_CA}.pem").exists():
            raise NotFound(f"{self.folder}: no certificate authority here; make one: urbanpulse certs init")
        certificate = self._load(self.folder / f"{_CA}.pem")
        try:
            key = serialization.load_pem_private_key((self.folder / f"{_CA}.key").read_bytes(), password=None)
        except (OSError, ValueError) as error:
            raise SettingsError("certs", f"{self.folder / _CA}.key cannot be read: {error}") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise SettingsError("certs", f"{self.folder / _CA}.key is not the key of {_CA}.pem")
        return certificate, key

    @staticmethod
    def _load(path: Path) -> x509.Certificate:
        try:
            return x509.load_pem_x509_certificate(path.read_bytes())
        except (OSError, ValueError) as error:
            raise SettingsError("certs", f"{path} is not a certificate: {error}") from error

    def _revocations(self) -> list[x509.RevokedCertificate]:
        path = self.folder / _CRL
        if not path.exists():
            return []
        try:
            listed = x509.load_pem_x509_crl(path.read_bytes())
        except ValueError as error:
            raise SettingsError("certs", f"{path} is not a revocation list: {error}") from error
        return list(listed)

    def _publish(self, now: datetime, revoked: list[x509.RevokedCertificate]) -> None:
        authority, key = self._authority()
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(authority.subject)
            .last_update(now - _BACKDATE)
            .next_update(now + timedelta(days=_CRL_DAYS))
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        )
        for one in revoked:
            builder = builder.add_revoked_certificate(one)
        content = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        _replace(self.folder / _CRL, content, 0o644)

    def _write(self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        _replace(self.folder / f"{name}.key", secret, 0o600)
        _replace(self.folder / f"{name}.pem", certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def _replace(path: Path, content: bytes, mode: int) -> None:
    new = path.with_suffix(".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    new.rename(path)


def _named(title: str) -> x509.Name:
    try:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, title)])
    except ValueError as error:
        raise SettingsError("certs", f"{title!r}: {error}") from error


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        name = host.encode("idna").decode()  # takes the empty name
    except ValueError:
        name = ""
    if not name:
        raise SettingsError("certs", f"{host!r} is neither a host name nor an address")
    return x509.DNSName(name)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=ca, crl_sign=ca, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _revoked(serial: int, now: datetime) -> x509.RevokedCertificate:
    return x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now.astimezone(UTC)).build()


def _describe(name: str, certificate: x509.Certificate, gone: set[int]) -> Issued:
    hosts: tuple[str, ...] = ()
    use = _CA if name == _CA else "client"
    for extension in certificate.extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            use = "server"
            hosts = tuple(str(part.value) for part in extension.value)
    serial = certificate.serial_number
    return Issued(name, use, hosts, serial, certificate.not_valid_after_utc, serial in gone)
