"""The key that signs: made once, for its user alone, whoever else begins at the same time; or given."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from credential_cases import authority_and_signer

from nerfscene.config import CredentialsConfig
from nerfscene.credentials import key
from nerfscene.credentials.marking import ready
from nerfscene.errors import NerfsceneError

pytest.importorskip("c2pa", reason="c2pa-python is not installed")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which this machine's key will be, which isn't there yet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config/nerfscene"


def test_a_key_is_made_once_for_its_user_alone(home: Path) -> None:
    made = key.signing_key()
    file = home / key.OWN_KEY
    assert made.own and made.file == file and [p.name for p in home.iterdir()] == [key.OWN_KEY]
    if os.name == "posix":
        assert file.stat().st_mode & 0o777 == 0o600 and home.stat().st_mode & 0o777 == 0o700
    assert key.signing_key() == made
    assert key.own_certificate() == made.certificates


def test_no_key_is_made_to_look_or_to_leave_credentials_out(home: Path) -> None:
    assert key.own_certificate() is None
    assert ready(CredentialsConfig(credentials=False)).key is None
    assert not home.exists()


MAKE = "from nerfscene.credentials import key; print(key.signing_key().certificates.hex())"


def test_processes_that_begin_together_sign_with_the_same_key(home: Path) -> None:
    words = [sys.executable, "-c", MAKE]
    started = [
        subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(4)
    ]
    said = [process.communicate(timeout=600) for process in started]
    assert len({out for out, _ in said}) == 1 and said[0][0], said
    assert [p.name for p in home.iterdir()] == [key.OWN_KEY]


def test_a_process_that_comes_second_takes_the_first_one_s_key(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = key.signing_key()
    monkeypatch.setattr(Path, "exists", lambda self, **_: False)  # as it was when the second one looked
    assert key.signing_key() == first


def test_what_a_killed_process_left_of_a_key_is_removed(home: Path) -> None:
    home.mkdir(parents=True)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (home / f".{key.OWN_KEY}.{gone.pid}.tmp").write_bytes(b"half a")
    (home / f".{key.OWN_KEY}.{os.getpid()}.tmp").write_bytes(b"another half")
    key.signing_key()
    assert [p.name for p in home.iterdir()] == [key.OWN_KEY]


@pytest.mark.parametrize(
    "damage", [b"", b"\0" * 900, b"-----BEGIN PRIVATE KEY-----\nAAAA\n", "cut", "no key"]
)
def test_a_damaged_key_is_one_sentence_with_a_way_out(home: Path, damage: bytes | str) -> None:
    key.signing_key()
    file = home / key.OWN_KEY
    whole = file.read_bytes()
    cut = {"cut": whole[: len(whole) - 60], "no key": whole[whole.index(b"-----BEGIN CERT") :]}
    file.write_bytes(damage if isinstance(damage, bytes) else cut[damage])
    with pytest.raises(NerfsceneError, match=rf"{key.OWN_KEY}.*delete it and a new one.*--no-credentials$"):
        ready(CredentialsConfig())
    assert key.own_certificate() is None  # so that other files can still be looked at


def test_where_no_key_can_be_made_is_said_and_nothing_is_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text("a file in the folder's place")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    said: list[str] = []
    assert ready(CredentialsConfig(), said.append).key is None
    assert len(said) == 1 and "can be made in" in said[0] and "--no-credentials" in said[0]


def test_a_user_without_a_home_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(key, "config_folder", lambda: Path("~/.config/nerfscene"))  # what is left of it then
    said: list[str] = []
    assert ready(CredentialsConfig(), said.append).key is None
    assert len(said) == 1 and "no home folder" in said[0] and not list(tmp_path.iterdir())


def test_the_settings_of_the_platform_are_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    for given in ("", "relative/config"):  # to be ignored, says the XDG specification
        monkeypatch.setenv("XDG_CONFIG_HOME", given)
        assert key.config_folder() == tmp_path / ".config/nerfscene"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert key.config_folder() == tmp_path / "Library/Application Support/nerfscene"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("APPDATA", str(tmp_path / "Roaming"))
    assert key.config_folder() == tmp_path / "Roaming/nerfscene"


def test_a_given_key_is_used_by_option_or_by_environment(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / "one.pem", tmp_path / "two.pem"]
    for file in files:
        file.write_bytes(authority_and_signer()[1])
    monkeypatch.setenv(key.VARIABLE, str(files[0]))
    found = [ready(CredentialsConfig(credentials_key=given)).key for given in (None, files[1])]
    assert [k.file for k in found if k is not None and not k.own] == files
    assert not home.exists()


def test_keys_of_the_other_kinds_that_c2pa_knows_can_sign(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    names = [
        key._algorithm(made)
        for made in (
            ec.generate_private_key(ec.SECP384R1()),
            ed25519.Ed25519PrivateKey.generate(),
            rsa.generate_private_key(65537, 2048),
        )
    ]
    assert names == ["es384", "ed25519", "ps256"]
    with pytest.raises(ValueError, match="none of"):
        key._algorithm(ec.generate_private_key(ec.SECP256K1()))


def test_given_keys_that_cannot_sign_say_why(tmp_path: Path) -> None:
    file = tmp_path / "given.pem"
    ended = datetime.datetime(2021, 5, 6)
    root, good = authority_and_signer()
    other = authority_and_signer()[1]
    private, chain = good[: good.index(b"-----BEGIN CERT")], good[good.index(b"-----BEGIN CERT") :]
    cases = [
        (authority_and_signer(ends=ended)[1], "ended on 2021-05-06"),
        (authority_and_signer(password=b"secret")[1], "has a password"),
        (authority_and_signer(usable=False)[1], "certificate is invalid"),
        (private, "no certificate"),
        (chain, "no private key"),
        (other[: other.index(b"-----BEGIN CERT")] + chain, "belongs to another"),
        (root, "no private key"),
        (b"x" * (key.LARGEST + 1), "too large"),
    ]
    for data, reason in cases:
        file.write_bytes(data)
        with pytest.raises(NerfsceneError, match=f"given.pem.*({reason}).*give a PEM file"):
            ready(CredentialsConfig(credentials_key=file))
    with pytest.raises(NerfsceneError, match=r"none.pem doesn't exist; give a PEM"):
        ready(CredentialsConfig(credentials_key=tmp_path / "none.pem"))
    with pytest.raises(NerfsceneError, match=r"can't be read .*; give a PEM"):
        ready(CredentialsConfig(credentials_key=tmp_path))
