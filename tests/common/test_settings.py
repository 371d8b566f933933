"""What is wrong in a settings file, said so that a person finds it and knows what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedproc.central.settings import CentralSettings
from fedproc.common.errors import InvalidInputError
from fedproc.common.toml_settings import load_toml
from fedproc.site.policy.policy_file import Policy
from fedproc.site.settings import SiteSettings


def wrong(folder: Path, text: str, model: type = Policy) -> str:
    (folder / "f.toml").write_text(text)
    with pytest.raises(InvalidInputError) as caught:
        load_toml(folder / "f.toml", model)
    return caught.value.message


def test_an_unknown_key_is_named_with_the_nearest_and_with_all_that_there_are(tmp_path):
    said = wrong(tmp_path, "minimum_cuont = 3\n")
    assert f"{tmp_path}/f.toml: minimum_cuont: there is no such key; did you mean minimum_count?" in said
    assert (
        "floor, grants, known_keys, ledger, log_subjects, logs, maximum, metrics, metrics_per_job, metrics_per_minute,"
        " minimum_count" in said
    )


def test_what_is_like_nothing_gets_no_guess(tmp_path):
    assert "zzz: there is no such key; known are: " in wrong(tmp_path, "zzz = 3\n")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('user = ["alice"]', "tools no. 2 (km).user: there is no such key; did you mean users?"),
        ("connections = [{task = 's', max_mb = 1, rounds = 3}]", "tools no. 2 (km).connections no. 1 (s).rounds: "),
        ("release = {agregate = 'never'}", "tools no. 2 (km).release.agregate: "),
        ("release = {aggregate = 'nevr'}", "tools no. 2 (km).release.aggregate: "),
    ],
)
def test_a_line_is_named_by_its_place_and_its_tool(tmp_path, line, said):
    policy = f'[[tools]]\nid = "other"\ndigest = "*"\n[[tools]]\nid = "km"\ndigest = "*"\n{line}\n'
    assert said in wrong(tmp_path, policy)


def test_what_is_missing_is_said(tmp_path):
    assert "tools no. 1 (km).digest: is missing" in wrong(tmp_path, '[[tools]]\nid = "km"\n')


def test_tables_by_name_and_tables_that_may_be_left_out(tmp_path):
    said = wrong(tmp_path, '[datasets."a.b"]\npth = "/x"\n[store]\nnam = "x"\n', SiteSettings)
    assert "datasets.a.b.pth: there is no such key; did you mean path?" in said
    assert "store.nam: there is no such key; did you mean name?" in said
    said = wrong(tmp_path, '[datasets."a.b"]\nversion = "1"\n', SiteSettings)
    assert "datasets.a.b: a dataset of source 'folder' needs path" in said


def test_a_role_that_there_is_not_is_named(tmp_path):
    said = wrong(tmp_path, "[issuer.roles]\noperater = ['x']\n", CentralSettings)
    assert "issuer.roles.operater: " in said
    assert "'researcher', 'operator' or 'admin'" in said


def test_byte_order_mark_before_the_settings_does_not_matter(tmp_path):
    (tmp_path / "f.toml").write_bytes(b"\xef\xbb\xbfminimum_count = 3\n")
    assert load_toml(tmp_path / "f.toml", Policy).minimum_count == 3
