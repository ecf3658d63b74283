"""Delta tables on S3, over HTTP: credentials are renewed, answers that are lost do no harm, and no secret is told."""

from __future__ import annotations

import signal

import pytest
from deltalake import DeltaTable
from s3_server import BUCKET, S3Server, s3_server
from sample_runs import row
from test_delta_output import counting, writing

from stores import aws_credentials, delta_output
from stores.aws_credentials import AwsAccess, Credentials
from stores.output import check_output, write_output
from stores.results import open_store
from trials.errors import StoreError, UsageError

URL = f"s3://{BUCKET}/some/table"
ROLE = "arn:aws:iam::123456789012:role/runner"
FIXED = "AKIDFIXED"
NAMES = ("trial_key", "status", "run_id", "shard", "journal_offset")


@pytest.fixture(autouse=True)
def no_variables_of_this_machine(monkeypatch):
    import os

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="module")
def started():
    with s3_server() as server:
        yield server


@pytest.fixture
def server(started: S3Server):
    started.forget()
    return started


@pytest.fixture
def identity(tmp_path, server) -> dict[str, str]:
    """Variables of a web identity, without keys."""
    (tmp_path / "token").write_text("identity-one\n")
    variables = server.environment(AWS_ROLE_ARN=ROLE, AWS_WEB_IDENTITY_TOKEN_FILE=str(tmp_path / "token"))
    return {name: value for name, value in variables.items() if "KEY" not in name}


@pytest.fixture
def store(work):
    return open_store(work.results, simulated=True, form="parquet")


@pytest.fixture
def run(work, store):
    """A run of 20 rows, two of which are errors."""
    run = work.run()
    work.end(run, 1, *(row(f"{n:02}", status="provider_error" if n % 10 == 0 else "scored") for n in range(20)))
    store.merge([run])
    return run


@pytest.fixture
def closed_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(delta_output, "BATCH_ROWS", 5)
    monkeypatch.setattr(delta_output, "_PIECE_ROWS", 5)


def read(server) -> list[dict]:
    server.refused.clear()
    options = server.environment(AWS_ALLOW_HTTP="true", AWS_ACCESS_KEY_ID="AKIDREADER")
    found = DeltaTable(URL, storage_options=options).to_pyarrow_table(columns=list(NAMES)).to_pylist()
    return sorted(found, key=str)


def test_a_run_stands_on_s3_once_however_often_it_is_written(server, store, run, work):
    variables = server.environment()
    check_output(URL, variables)
    assert write_output(URL, store, run, environment=variables, tell=print) == 20
    assert write_output(f"delta:{URL}/", store, run, environment=variables, tell=print) == 0
    work.end(run, 1, row("00", ended_at=3.0))
    store.merge([run])
    check_output(URL, variables)
    assert write_output(URL, store, run, environment=variables, tell=print) == 1
    assert read(server) == counting(store, run, NAMES)


def test_a_web_identity_is_exchanged_for_keys(server, store, run, identity):
    assert write_output(URL, store, run, environment=identity, tell=print) == 20
    assert server.identity_tokens == ["identity-one"]
    assert FIXED not in server.keys_used()
    assert read(server) == counting(store, run, NAMES)


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("code", ["ExpiredToken", "AccessDenied"])
@pytest.mark.parametrize("revoked_after", ["data", "commit"])
def test_keys_that_are_refused_in_mid_write_are_renewed(server, store, run, identity, tmp_path, code, revoked_after):
    told: list[str] = []
    kind = "/_delta_log/0" if revoked_after == "commit" else "/part-"

    def revoke_first(path, key):
        if kind in path and not path.endswith("0.json") and not server.refused:
            (tmp_path / "token").write_text("identity-two")
            server.refused[key] = code
        return False

    server.after_put = revoke_first
    assert write_output(URL, store, run, environment=identity, tell=told.append) == 20
    assert server.identity_tokens == ["identity-one", "identity-two"]
    assert len(server.keys_used()) == 2
    assert len(told) == 1
    assert code in told[0]
    assert read(server) == counting(store, run, NAMES)


def test_given_keys_are_used_until_they_are_refused(server, store, run, identity):
    variables = identity | server.environment()
    server.refused[FIXED] = "ExpiredToken"
    assert write_output(URL, store, run, environment=variables, tell=print) == 20
    assert server.keys_used()[0] == FIXED
    assert server.identity_tokens == ["identity-one"]
    assert read(server) == counting(store, run, NAMES)


def test_without_a_web_identity_a_refusal_says_what_to_check_and_no_secret(server, store, run):
    server.refused[FIXED] = "ExpiredToken"
    variables = server.environment(AWS_SESSION_TOKEN="very-secret-token")
    for act, kind in [
        (lambda: write_output(URL, store, run, environment=variables, tell=print), StoreError),
        (lambda: check_output(URL, variables), UsageError),
    ]:
        with pytest.raises(kind, match=f"{BUCKET}.*ExpiredToken.*AWS_ROLE_ARN") as refused:
            act()
        assert not [
            secret for secret in ("very-secret-key", "very-secret-token", FIXED) if secret in str(refused.value)
        ]
        assert refused.value.__cause__ is None


def test_renewing_ends_when_it_is_of_no_use(server, store, run, identity):
    server.refuse_all = "AccessDenied"
    with pytest.raises(StoreError, match=f"{BUCKET}.*AccessDenied"):
        write_output(URL, store, run, environment=identity, tell=print)
    assert len(server.identity_tokens) == 4


def test_an_identity_without_a_token_is_told(server, store, run, identity, tmp_path):
    (tmp_path / "token").unlink()
    with pytest.raises(StoreError, match=r"AWS_WEB_IDENTITY_TOKEN_FILE.*token"):
        write_output(URL, store, run, environment=identity, tell=print)


def test_a_token_service_that_cannot_be_reached_is_told(server, store, run, identity, monkeypatch, closed_port):
    monkeypatch.setattr(aws_credentials, "STS_ATTEMPTS", 1)
    variables = identity | {"AWS_ENDPOINT_URL_STS": f"http://127.0.0.1:{closed_port}"}
    with pytest.raises(StoreError, match="token service") as refused:
        write_output(URL, store, run, environment=variables, tell=print)
    assert "identity-one" not in str(refused.value)


def test_credentials_that_are_about_to_expire_are_renewed_first(server, identity, monkeypatch):
    access = AwsAccess(identity)
    first, again = access.options(), access.options()
    assert first == again
    monkeypatch.setattr(aws_credentials, "RENEW_BEFORE_S", 1e6)
    assert access.options()["AWS_ACCESS_KEY_ID"] != first["AWS_ACCESS_KEY_ID"]


def test_a_table_made_by_someone_who_was_never_answered_is_the_same_table(server, store, run):
    lost = []

    def lose_the_first(path, key):
        if "/_delta_log/" in path and path.endswith(".json") and path not in lost:
            lost.append(path)
            return True
        return False

    server.after_put = lose_the_first
    assert write_output(URL, store, run, environment=server.environment(), tell=print) == 20
    assert len(lost) >= 2
    server.after_put = server.answered
    assert write_output(URL, store, run, environment=server.environment(), tell=print) == 0
    assert read(server) == counting(store, run, NAMES)


@pytest.mark.parametrize("commits", [1, 3])
def test_a_process_killed_when_its_commit_is_done_and_not_yet_answered_is_finished_by_the_next(
    server, store, run, commits
):
    seen = []

    def kill(path, key):
        if "/_delta_log/" in path:
            seen.append(path)
            if len(seen) == commits:
                process.kill()
        return False

    server.after_put = kill
    process = writing(URL, store, run, batch=5, environment=server.environment())
    process.communicate("go\n")
    assert process.returncode == -signal.SIGKILL
    server.after_put = server.answered
    write_output(URL, store, run, environment=server.environment(), tell=print)
    assert read(server) == counting(store, run, NAMES)


def test_two_processes_at_once_are_exact(server, store, run, work):
    other = work.run(num_instances=4)
    work.end(other, 1, *(row(f"{n:02}", ended_at=2.0) for n in range(10, 30)))
    store.merge([other])
    processes = [writing(URL, store, one, batch=5, environment=server.environment()) for one in (run, other)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert sum(int(process.communicate()[0].splitlines()[-1]) for process in processes) == 30
    assert read(server) == counting(store, run, NAMES)


def test_a_bucket_that_is_not_there_or_cannot_be_reached_is_told_before_the_run(server, closed_port):
    with pytest.raises(UsageError, match=r"nowhere.*NoSuchBucket"):
        check_output("s3://nowhere/table", server.environment())
    gone = server.environment(AWS_ENDPOINT_URL=f"http://127.0.0.1:{closed_port}")
    with pytest.raises(UsageError, match=r"refused.*AWS_ENDPOINT_URL"):
        check_output(URL, gone)


@pytest.mark.parametrize("url", ["http://10.1.2.3:9000", "ftp://host", "host:9000", "http://me:hush@127.0.0.1:9000"])
def test_endpoints_that_would_tell_secrets_are_refused(url):
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        with pytest.raises(UsageError, match=name) as refused:
            AwsAccess({name: url})
        assert "hush" not in str(refused.value)
    assert AwsAccess({"AWS_ENDPOINT_URL": "http://10.1.2.3:9000", "AWS_ALLOW_HTTP": "true"}).options()


def test_the_endpoint_of_s3_goes_before_the_one_of_all_services():
    access = AwsAccess({"AWS_ENDPOINT_URL": "https://all:1", "AWS_ENDPOINT_URL_S3": "https://s3.only:1/"})
    assert access.options()["AWS_ENDPOINT_URL"] == "https://s3.only:1"


def test_credentials_do_not_print_themselves():
    assert "hush" not in repr(Credentials(key_id="hush1", secret="hush2", token="hush3"))
