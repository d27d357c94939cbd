"""The key that signs: one made on this machine when it is first needed, or one that is given."""

from __future__ import annotations

import contextlib
import datetime
import os
import re
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nerfscene.errors import NerfsceneError
from nerfscene.given import home_expanded
from nerfscene.scene.atomic import remove_leftovers

OWN_KEY = "credentials-key.pem"
VARIABLE = "NERFSCENE_CREDENTIALS_KEY"
MAKER = "nerfscene (self-made)"  # in the place of an organisation, which nobody has vouched for
# Fixed, so that a clock that is wrong when the key is made or used does no harm.
VALID_FROM, VALID_TO = datetime.datetime(2020, 1, 1), datetime.datetime(2060, 1, 1)
LARGEST = 1 << 20  # bytes of a file of keys and certificates
BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.+?-----END \1-----", re.DOTALL)
CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
WANTED = "give a PEM file that holds a private key without a password, and its certificates"
_making = threading.Lock()


class FolderUnusable(NerfsceneError):
    """The folder of this machine's key can't be written."""


@dataclass(frozen=True)
class Key:
    """A private key with its certificates, the signer's own first, both as PEM.

    algorithm: as C2PA names it, such as "es256". own: whether nerfscene made it on this machine.
    """

    file: Path
    private: bytes = field(repr=False)
    certificates: bytes
    algorithm: str
    own: bool


def config_folder() -> Path:
    """The folder of the user's settings for nerfscene, which need not exist."""
    given = os.environ.get("XDG_CONFIG_HOME", "")
    if given and Path(given).is_absolute():  # others are to be ignored, says the XDG specification
        return Path(given) / "nerfscene"
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or home_expanded(Path("~/AppData/Roaming"))) / "nerfscene"
    if sys.platform == "darwin":
        return home_expanded(Path("~/Library/Application Support")) / "nerfscene"
    return home_expanded(Path("~/.config")) / "nerfscene"


def signing_key(given: Path | None = None) -> Key:
    """The key to sign with: ``given``, or the one that $NERFSCENE_CREDENTIALS_KEY names, or this machine's.

    This machine's is made if there is none. Raises NerfsceneError for a key that can't be used, and
    FolderUnusable where none can be made.
    """
    named = os.environ.get(VARIABLE, "")
    if given is None and named:
        given = Path(named)
    if given is not None:
        return _read(home_expanded(given), own=False)
    file = config_folder() / OWN_KEY
    if not file.is_absolute():
        raise FolderUnusable(
            "no key for content credentials can be made, because this user has no home folder; give one with "
            "--credentials-key, or add --no-credentials"
        )
    if not file.exists():
        _make(file)
    return _read(file, own=True)


def own_certificate() -> bytes | None:
    """The certificate (PEM) of this machine's key; None if there is no key, or none that can be read."""
    file = config_folder() / OWN_KEY
    try:
        return _read(file, own=True).certificates if file.is_file() else None
    except NerfsceneError:
        return None


def certificates_of(file: Path) -> bytes:
    """The certificates (PEM) in a file of those to be trusted. Raises NerfsceneError if there are none."""
    from cryptography import x509

    blocks = [block for kind, block in _blocks(file, WANTED_TRUST) if kind == b"CERTIFICATE"]
    if not blocks:
        raise NerfsceneError(f"{file} holds no certificates; {WANTED_TRUST}")
    try:
        for block in blocks:
            x509.load_pem_x509_certificate(block)
    except ValueError as error:
        raise NerfsceneError(f"{file} holds a damaged certificate; {WANTED_TRUST}") from error
    return b"\n".join(blocks) + b"\n"


WANTED_TRUST = "give a PEM file with the certificates that you trust"


def _blocks(file: Path, wanted: str) -> list[tuple[bytes, bytes]]:
    """The (kind, text) of the PEM blocks in a file."""
    try:
        with open(file, "rb") as opened:
            data = opened.read(LARGEST + 1)
    except FileNotFoundError as error:
        raise NerfsceneError(f"{file} doesn't exist; {wanted}") from error
    except OSError as error:
        raise NerfsceneError(f"{file} can't be read ({error.strerror}); {wanted}") from error
    if len(data) > LARGEST:
        raise NerfsceneError(f"{file} is too large for keys and certificates; {wanted}")
    return [(found[1], found[0]) for found in BLOCK.finditer(data)]


def _read(file: Path, own: bool) -> Key:
    """The key in a file. Raises NerfsceneError, with what to do, if there is none that can sign."""
    way_out = "delete it and a new one is made, or add --no-credentials" if own else WANTED
    blocks = _blocks(file, way_out)
    try:
        private, certificates = _matching(blocks)
        algorithm = _algorithm(private)
    except (ValueError, TypeError) as error:
        raise NerfsceneError(
            f"{file} holds no key that can sign content credentials ({error}); {way_out}"
        ) from error
    from cryptography.hazmat.primitives import serialization as forms

    pem = forms.Encoding.PEM
    return Key(
        file,
        private.private_bytes(pem, forms.PrivateFormat.PKCS8, forms.NoEncryption()),
        b"".join(certificate.public_bytes(pem) for certificate in certificates),
        algorithm,
        own,
    )


def _matching(blocks: list[tuple[bytes, bytes]]) -> tuple[Any, list[Any]]:
    """The private key among PEM blocks, and the certificates, the key's own first.

    Raises ValueError or TypeError, with the reason, if they are not there or don't belong together.
    """
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization as forms

    keys = [block for kind, block in blocks if kind.endswith(b"PRIVATE KEY")]
    if not keys:
        raise ValueError("it has no private key")
    if b"ENCRYPTED" in keys[0]:
        raise ValueError("its private key has a password")
    try:
        private = forms.load_pem_private_key(keys[0], None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ValueError("its private key can't be read") from error
    try:
        certificates = [
            x509.load_pem_x509_certificate(block) for kind, block in blocks if kind == b"CERTIFICATE"
        ]
    except ValueError as error:
        raise ValueError("its certificate can't be read") from error
    if not certificates:
        raise ValueError("it has no certificate")

    def numbers(public: Any) -> bytes:
        shape = forms.PublicFormat.SubjectPublicKeyInfo
        return bytes(public.public_bytes(forms.Encoding.DER, shape))

    own = [c for c in certificates if numbers(c.public_key()) == numbers(private.public_key())]
    if not own:
        raise ValueError("its certificate belongs to another private key")
    _check_dates(own[0])
    return private, [own[0], *(c for c in certificates if c is not own[0])]


def _check_dates(certificate: Any) -> None:
    now = datetime.datetime.now(datetime.UTC)
    if now > certificate.not_valid_after_utc:
        raise ValueError(f"its certificate ended on {certificate.not_valid_after_utc:%Y-%m-%d}")
    if now < certificate.not_valid_before_utc:
        raise ValueError(f"its certificate begins on {certificate.not_valid_before_utc:%Y-%m-%d}")


def _algorithm(private: Any) -> str:
    """C2PA's name of how this key signs. Raises ValueError for one that C2PA has no name for."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name in CURVES:
        return CURVES[private.curve.name]
    if isinstance(private, rsa.RSAPrivateKey) and private.key_size >= 2048:
        return "ps256"
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return "ed25519"
    raise ValueError("it is none of: elliptic curve P-256, P-384 or P-521, Ed25519, RSA from 2048 bits on")


# --- this machine's key ---------------------------------------------------------------------------


def _make(file: Path) -> None:
    """Makes this machine's key in ``file``, for its user alone, unless another process does so first."""
    with _making:
        temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            remove_leftovers(file.parent, file.name)
            temporary.unlink(missing_ok=True)  # of a killed process that had our number
            with open(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as opened:
                opened.write(_new_key())
                opened.flush()
                os.fsync(opened.fileno())
            _name_first(temporary, file)
        except OSError as error:
            raise FolderUnusable(
                f"no key for content credentials can be made in {file.parent} ({error.strerror}); give one "
                f"with --credentials-key, or add --no-credentials"
            ) from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def _name_first(temporary: Path, file: Path) -> None:
    """Gives ``temporary`` the name ``file``, unless there is such a file by now."""
    try:
        os.link(temporary, file)
    except FileExistsError:
        return
    except OSError:  # a file system without hard links
        if not file.exists():
            os.replace(temporary, file)


def _new_key() -> bytes:
    """A new private key with a certificate that it signs itself, as PEM.

    The certificate has what C2PA asks of a signer's ("Technical Specification 2.2", section on X.509
    certificates): it may sign, is for e-mail protection or documents, and is no authority's.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives import serialization as forms
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    private = ec.generate_private_key(ec.SECP256R1())
    identifier = x509.SubjectKeyIdentifier.from_public_key(private.public_key())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, MAKER),
            x509.NameAttribute(NameOID.COMMON_NAME, f"key {identifier.digest.hex()[:16]}"),
        ]
    )
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign",
         "crl_sign", "encipher_only", "decipher_only"), False,
    )  # fmt: skip
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(VALID_FROM)
        .not_valid_after(VALID_TO)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, **usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(private.public_key()), critical=False
        )
        .sign(private, hashes.SHA256())
    )
    pem = forms.Encoding.PEM
    return private.private_bytes(
        pem, forms.PrivateFormat.PKCS8, forms.NoEncryption()
    ) + certificate.public_bytes(pem)
