"""Keys, certificates and files for tests of content credentials."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nerfscene.credentials.facts import Facts
from nerfscene.films import video

FACTS = Facts("5ce0" * 16, 24, "film", {"path": "orbit", "fps": 10.0, "frames": 5})
NEVER = datetime.datetime(2050, 1, 1)
BEGAN = datetime.datetime(2020, 1, 1)


def authority_and_signer(
    *, ends: datetime.datetime = NEVER, usable: bool = True, password: bytes | None = None
) -> tuple[bytes, bytes]:
    """(an authority's certificate, PEM of a signer's key with the certificates of both).

    ends: when the signer's certificate does. usable: whether it may sign documents. password: of the key.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives import serialization as forms
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    top, leaf = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))

    def named(text: str) -> x509.Name:
        organisation = x509.NameAttribute(NameOID.ORGANIZATION_NAME, f"{text} Ltd")
        return x509.Name([organisation, x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def certificate(who: str, key: Any, until: datetime.datetime, authority: bool) -> bytes:
        usage = {
            name: False
            for name in (
                "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
                "encipher_only", "decipher_only",
            )
        }  # fmt: skip
        purpose = ExtendedKeyUsageOID.EMAIL_PROTECTION if usable else ExtendedKeyUsageOID.SERVER_AUTH
        made = (
            x509.CertificateBuilder()
            .subject_name(named(who))
            .issuer_name(named("Authority"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(BEGAN)
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(authority, None), True)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=not authority, key_cert_sign=authority, crl_sign=authority, **usage
                ),
                True,
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(top.public_key()), False)
        )
        if not authority:
            made = made.add_extension(x509.ExtendedKeyUsage([purpose]), False)
        return made.sign(top, hashes.SHA256()).public_bytes(forms.Encoding.PEM)

    cipher = forms.BestAvailableEncryption(password) if password else forms.NoEncryption()
    private = leaf.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, cipher)
    root = certificate("Authority", top, NEVER, True)
    return root, private + certificate("Signer", leaf, ends, False) + root


def write_stripes(file: Path, count: int = 12) -> Path:
    """A film of 64×48 with ``count`` frames, each brighter than the one before."""
    frames = (np.full((48, 64, 3), 8 * i, np.uint8) for i in range(count))
    video.write_film(frames, file, 10)
    return file


def write_image(file: Path) -> Path:
    """A picture of 32×24 without any metadata."""
    Image.fromarray(np.random.default_rng(3).integers(0, 256, (24, 32, 3), np.uint8)).save(file)
    return file


def flipped(file: Path, place: int) -> None:
    """Changes one bit of a file; place: from its end if negative."""
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(bytes(data))
