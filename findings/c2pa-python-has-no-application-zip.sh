#!/bin/sh
# c2pa-python signs archives as "zip" or "application/x-zip", but has no "application/zip", the registered type: its
# own reader, given the name of an archive that it signed, says that the type is unsupported.
#
# Met with: c2pa-python 0.38.1 (c2pa-rs 0.91.3), cryptography 46.0.3, Python 3.11, Linux x86-64.
# Valid input: a .zip with one stored file. Signed with the format "zip", it is a good archive with the credentials as
# META-INF/content_credential.c2pa, and Reader("zip", stream) finds them valid.
# Seen: Builder.sign("application/zip", ...) and Builder.sign_file("a.zip", ...) raise NotSupported; so do
# Reader("application/zip", stream), Reader("signed.zip") and Reader(None, stream), which is to detect the type from
# the bytes. The list of supported types has "zip" and "application/x-zip".
# Formats of this field that are archives (SOG, USDZ) are read as unsigned by whoever lets it detect the type.
# Exit code: 0 if it is still so, 1 if it has changed.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >look.py <<'P'
import datetime
import io
import zipfile

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

key = ec.generate_private_key(ec.SECP256R1())
name = x509.Name([x509.NameAttribute(at, "me") for at in (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME)])
certificate = (
    x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    .serial_number(7).not_valid_before(datetime.datetime(2020, 1, 1)).not_valid_after(datetime.datetime(2050, 1, 1))
    .add_extension(x509.BasicConstraints(False, None), True)
    .add_extension(x509.KeyUsage(True, *[False] * 8), True)
    .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
    .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), False)
    .sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
)
private = key.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)
SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/composite"
ACTION = {"action": "c2pa.created", "digitalSourceType": SOURCE}
MANIFEST = {
    "claim_generator_info": [{"name": "look", "version": "1"}],
    "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [ACTION]}}],
}
with zipfile.ZipFile("a.zip", "w") as made:
    made.writestr("a.txt", "hello")


def said(call):
    try:
        return call()
    except c2pa.C2paError.NotSupported:
        return "NotSupported"


def sign(kind):
    signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo("es256", certificate, private, None))
    with open("a.zip", "rb") as given, open("signed.zip", "w+b") as signed:
        c2pa.Builder(MANIFEST).sign(signer, kind, given, signed)
    return "signed"


def read(*what):
    return c2pa.Reader(*what).get_validation_state()


found = [said(lambda: sign("application/zip")), said(lambda: sign("zip"))]
assert zipfile.ZipFile("signed.zip").testzip() is None
data = open("signed.zip", "rb").read()
for kind in ("zip", "application/x-zip", "application/zip", None):
    found.append(said(lambda: read(kind, io.BytesIO(data))))
found.append(said(lambda: read("signed.zip")))
print(f"c2pa-python {c2pa.__version__}, c2pa-rs {c2pa.sdk_version()}:", *found)
print(*found, file=open("seen", "w"))
P
python3 -m venv v
v/bin/pip install --quiet --disable-pip-version-check c2pa-python==0.38.1 cryptography==46.0.3
v/bin/python look.py
expected="NotSupported signed Valid Valid NotSupported NotSupported NotSupported"
[ "$(cat seen)" = "$expected" ] || { echo "changed: expected $expected, saw $(cat seen)"; exit 1; }
