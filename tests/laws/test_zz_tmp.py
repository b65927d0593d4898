from tests.laws.test_law01_conservation import *
import pytest
@pytest.mark.parametrize("mut", ["fate", "order", "revoke"])
def test_mut(fresh_databases, monkeypatch, mut):
    from ledger import settlement, funding, store
    from ledger.credits import Account
    if mut == "fate":
        monkeypatch.setattr(settlement, "fate", lambda p, at: Account.AVAILABLE if p["revoked_at"] is None else Account.REVOKED)
    if mut == "revoke":
        monkeypatch.setattr(settlement, "fate", lambda p, at: Account.EXPIRED if p["expires_at"] <= at else Account.AVAILABLE)
    if mut == "order":
        monkeypatch.setitem(store.SQL, "burnable", store.SQL["burnable"].replace("org_id, priority, expires_at", "org_id, expires_at, priority"))
    with pytest.raises(BaseException) as e:
        test_credits_are_conserved_whatever_is_done(fresh_databases)
    print(mut, repr(e.value)[:200])
def test_real(fresh_databases):
    test_credits_are_conserved_whatever_is_done(fresh_databases)
