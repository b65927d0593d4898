"""An empty FastAPI endpoint: what the web framework alone costs, at the path that gifts are sent to."""

from fastapi import FastAPI

app = FastAPI()


@app.post("/v1/billing/credits/transfer")
async def noop() -> dict[str, str]:
    return {}
