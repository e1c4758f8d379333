"""A missing peer is a skip with a reason, or a failure where it is required."""

import sys

import peer_code
import pytest


@pytest.fixture(params=["absent", "broken"])
def peer(request: pytest.FixtureRequest, tmp_path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module that cannot be imported."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("REQUIRE_PARITY", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    if request.param == "broken":
        (tmp_path / "broken_peer.py").write_text("raise RuntimeError('needs a GPU')\n")
    return f"{request.param}_peer"


def test_a_missing_peer_skips_with_the_reason(peer: str) -> None:
    with pytest.raises(pytest.skip.Exception, match=r"needs a GPU|No module named .absent_peer."):
        _ = peer_code.need(peer)[0].router


@pytest.mark.parametrize("variable", [("CI", "true"), ("REQUIRE_PARITY", "1")])
def test_a_missing_peer_fails_where_it_is_required(peer: str, variable, monkeypatch) -> None:
    monkeypatch.setenv(*variable)
    with pytest.raises(pytest.fail.Exception, match="cannot be imported"):
        _ = peer_code.need(peer)[0].router


def test_stand_ins_for_kernels_are_gone_after_the_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(peer_code.KERNELS, "json", ("made_up_kernels",))
    assert peer_code.need("json")[0].dumps(1) == "1"
    assert "made_up_kernels" not in sys.modules
