"""What the web framework alone costs: an empty FastAPI endpoint, and one that reads the gift that it is sent."""

from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Gift(BaseModel):
    """The body of `POST …/transfer`, as an application of the framework would declare it."""

    recipient: str
    amount: int
    note: str | None = None
    ip: str | None = None
    device: str | None = None


@app.post("/v1/billing/credits/transfer")
async def noop() -> dict[str, str]:
    return {}


@app.post("/typed")
async def typed(gift: Gift) -> dict[str, str]:
    return {}
