"""probe"""
from tests.support import House

async def test_probe(house: House) -> None:
    a, b = await house.org(amount=100), await house.org()
    name = await house.sent(a, b, 40)
    await house.pass_time(3601)
    assert await house.settle() == 1
    assert (await house.transfer(name))["status"] == "settled"
    print(await house.reconcile(), [dict(g) for g in await house.grants(b)])
