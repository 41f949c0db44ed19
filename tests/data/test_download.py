"""Downloads against a server on the loopback address that can be told to misbehave."""

import hashlib
import json

import pytest

from archive import CONTENT, FILE_PATH, LISTING_PATH, MD5, SHA256, fetch, files_of, manifest
from fcl.data.download import PIECE_BYTES, DownloadError, fetch_split, listing_url
from fcl.data.manifest import load_data_manifest


def test_a_pinned_file_is_fetched_verified_and_recorded(tmp_path, archive, capsys):
    output = tmp_path / "data" / "train.xyz"
    record = fetch(manifest(tmp_path, url=archive.url, size=len(CONTENT), checksum=SHA256), output)
    assert output.read_bytes() == CONTENT
    assert files_of(output.parent) == ["train.xyz", "train.xyz.verified.json"]
    assert json.loads((output.parent / "train.xyz.verified.json").read_text()) == record
    assert record["checksum"] == "sha256:" + record["sha256"] == SHA256
    assert (record["verified_by"], record["source"], record["bytes"]) == (
        "manifest",
        archive.url,
        len(CONTENT),
    )
    assert "train.xyz: 0.5 of 0.5 MB (100 %)" in capsys.readouterr().err
    assert [path for path, _ in archive.requests] == [FILE_PATH]


def test_a_file_that_is_there_and_verified_is_kept(tmp_path, archive):
    path = manifest(tmp_path, url=archive.url, checksum=SHA256)
    fetch(path, tmp_path / "out.xyz")
    archive.requests.clear()
    fetch(path, tmp_path / "out.xyz")
    assert archive.requests == []


def test_without_a_pinned_checksum_the_archives_listing_vouches(tmp_path, archive):
    record = fetch(manifest(tmp_path, url=archive.url, size=None, checksum=None), tmp_path / "train.xyz")
    assert record["checksum"] == MD5
    assert record["verified_by"].endswith(LISTING_PATH)
    assert [path for path, _ in archive.requests] == [LISTING_PATH, FILE_PATH]


def test_an_altered_file_is_refused_by_the_listing(tmp_path, archive):
    archive.content = CONTENT[:-1] + b"!"
    with pytest.raises(DownloadError, match=r"train\.xyz.*altered: its md5"):
        fetch(manifest(tmp_path, url=archive.url), tmp_path / "out" / "train.xyz")
    assert files_of(tmp_path / "out") == []


def test_an_unreadable_listing_is_an_error_that_says_what_to_do(tmp_path, archive):
    archive.listing = None
    with pytest.raises(DownloadError, match=r"listing.*could not be read.*local_dir"):
        fetch(manifest(tmp_path, url=archive.url), tmp_path / "out" / "train.xyz")
    archive.listing = {"entries": []}
    with pytest.raises(DownloadError, match=r"lists no file 'train\.xyz'"):
        fetch(manifest(tmp_path, url=archive.url), tmp_path / "out" / "train.xyz")
    assert files_of(tmp_path / "out") == []


def test_a_listing_that_contradicts_the_manifest_is_an_error(tmp_path, archive):
    with pytest.raises(DownloadError, match=rf"has {len(CONTENT)} bytes, but .*manifest\.yaml says 7"):
        fetch(manifest(tmp_path, url=archive.url, size=7), tmp_path / "train.xyz")


def test_a_url_without_listing_needs_a_pinned_checksum(tmp_path):
    path = manifest(tmp_path, url="https://example.org/train.xyz")
    with pytest.raises(DownloadError, match=r"splits\.train\.checksum.*add the checksum"):
        fetch(path, tmp_path / "train.xyz")


def test_an_altered_file_leaves_nothing(tmp_path, archive):
    archive.content = CONTENT[:-1] + b"!"
    path = manifest(tmp_path, url=archive.url, size=len(CONTENT), checksum=SHA256)
    with pytest.raises(DownloadError, match="altered"):
        fetch(path, tmp_path / "out" / "train.xyz")
    assert files_of(tmp_path / "out") == []


def test_a_short_file_never_gets_the_final_name(tmp_path, archive):
    archive.content = CONTENT[:1000]
    path = manifest(tmp_path, url=archive.url, size=len(CONTENT), checksum=SHA256)
    with pytest.raises(DownloadError, match=r"train\.xyz.*after 3 attempts.*was not written"):
        fetch(path, tmp_path / "out" / "train.xyz")
    assert not (tmp_path / "out" / "train.xyz").exists()
    assert not (tmp_path / "out" / "train.xyz.verified.json").exists()


def test_server_errors_are_survived(tmp_path, archive):
    archive.faults = [503, 500]
    fetch(manifest(tmp_path, url=archive.url, checksum=SHA256), tmp_path / "train.xyz")
    assert (tmp_path / "train.xyz").read_bytes() == CONTENT
    assert len(archive.requests) == 3


def test_server_errors_end_in_an_error(tmp_path, archive):
    archive.faults = [503] * 9
    with pytest.raises(DownloadError, match=r"no response.*503"):
        fetch(manifest(tmp_path, url=archive.url, checksum=SHA256), tmp_path / "out" / "train.xyz")
    assert files_of(tmp_path / "out") == []


def test_a_missing_file_is_not_asked_for_again(tmp_path, archive):
    archive.faults = [404]
    with pytest.raises(DownloadError, match="404"):
        fetch(manifest(tmp_path, url=archive.url, checksum=SHA256), tmp_path / "train.xyz")
    assert len(archive.requests) == 1


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_transfer_goes_on_where_the_server_can(tmp_path, archive, ranges):
    archive.faults, archive.ranges = ["break"], ranges
    path = manifest(tmp_path, url=archive.url, size=len(CONTENT), checksum=SHA256)
    fetch(path, tmp_path / "train.xyz")
    assert (tmp_path / "train.xyz").read_bytes() == CONTENT
    start = int(archive.requests[1][1].removeprefix("bytes=").removesuffix("-"))
    assert len(CONTENT) // 2 - PIECE_BYTES < start <= len(CONTENT) // 2


def test_a_later_run_goes_on_and_a_rotten_half_is_thrown_away(tmp_path, archive):
    path = manifest(tmp_path, url=archive.url, size=len(CONTENT), checksum=SHA256)
    archive.faults = ["break"]
    with pytest.raises(DownloadError, match="interrupted"):
        fetch(path, tmp_path / "train.xyz", retries=0)
    part = tmp_path / ".train.xyz.part"
    assert 0 < part.stat().st_size <= len(CONTENT) // 2
    part.write_bytes(b"?" + part.read_bytes()[1:])
    fetch(path, tmp_path / "train.xyz")
    assert (tmp_path / "train.xyz").read_bytes() == CONTENT
    assert not part.exists()


def test_local_dir_replaces_the_download_and_is_verified(tmp_path, archive):
    folder = tmp_path / "got"
    folder.mkdir()
    path = manifest(tmp_path, url=archive.url, size=len(CONTENT), checksum=SHA256)
    with pytest.raises(DownloadError, match=r"got/train\.xyz: no such file"):
        fetch(path, tmp_path / "train.xyz", local_dir=folder)
    (folder / "train.xyz").write_bytes(CONTENT[:-5])
    with pytest.raises(DownloadError, match=r"got/train\.xyz: short"):
        fetch(path, tmp_path / "train.xyz", local_dir=folder)
    assert not (tmp_path / "train.xyz").exists()
    (folder / "train.xyz").write_bytes(CONTENT)
    fetch(path, tmp_path / "train.xyz", local_dir=folder)
    assert (tmp_path / "train.xyz").read_bytes() == CONTENT
    assert archive.requests == []


def test_local_dir_without_any_checksum_is_taken_with_a_warning(tmp_path, archive, capsys):
    archive.listing = None
    folder = tmp_path / "got"
    folder.mkdir()
    (folder / "train.xyz").write_bytes(b"mine")
    record = fetch(manifest(tmp_path, url=archive.url), tmp_path / "train.xyz", local_dir=folder)
    assert record["verified_by"] is None
    assert record["sha256"] == hashlib.sha256(b"mine").hexdigest()
    assert "WARNING" in capsys.readouterr().err


def test_files_beside_the_manifest(tmp_path):
    (tmp_path / "train.xyz.gz").write_bytes(CONTENT)
    path = manifest(tmp_path, file="train.xyz.gz", size=len(CONTENT), checksum=SHA256)
    fetch(path, tmp_path / "out" / "train.xyz.gz")
    assert (tmp_path / "out" / "train.xyz.gz").read_bytes() == CONTENT
    with pytest.raises(DownloadError, match="compressed"):
        fetch(path, tmp_path / "out" / "train.xyz")


def test_an_unknown_split_is_named(tmp_path):
    with pytest.raises(KeyError, match=r"no split 'tset'; there are train"):
        fetch_split(manifest(tmp_path), "tset", tmp_path / "x")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"sise": 3}, r"splits\.train\.sise"),
        ({"size": -3}, r"splits\.train\.size"),
        ({"checksum": "abc"}, r"splits\.train\.checksum.*sha256"),
        ({"url": "ftp://example.org/x"}, r"splits\.train\.url.*https"),
        ({"file": "../x"}, r"splits\.train\.file.*bare file name"),
    ],
)
def test_manifest_errors_name_file_and_key(tmp_path, entry, message):
    with pytest.raises(ValueError, match=r"manifest\.yaml: " + message):
        load_data_manifest(manifest(tmp_path, **entry))


def test_a_manifest_that_is_no_mapping(tmp_path):
    (tmp_path / "a.yaml").write_text("- 1\n")
    with pytest.raises(ValueError, match=r"a\.yaml.*mapping"):
        load_data_manifest(tmp_path / "a.yaml")
    (tmp_path / "a.yaml").write_text("a: [\n")
    with pytest.raises(ValueError, match=r"a\.yaml: not valid YAML"):
        load_data_manifest(tmp_path / "a.yaml")


def test_listing_url():
    listing = "https://archive.org/api/records/c4ene-0mv14/files"
    for url in (
        "https://archive.org/records/c4ene-0mv14/files/a%20b.xyz?download=1",
        "https://archive.org/api/records/c4ene-0mv14/files/a%20b.xyz/content",
    ):
        assert listing_url(url) == (listing, "a b.xyz")
    assert listing_url("https://example.org/files/a.xyz") is None
