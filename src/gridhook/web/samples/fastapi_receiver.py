# pip install fastapi uvicorn
# PRIVATE_KEY=... uvicorn fastapi_receiver:app --port 8000     (without PRIVATE_KEY it answers the handshake only)
import hmac
import os
from typing import Any

from fastapi import BackgroundTasks, FastAPI, HTTPException, Request

PRIVATE_KEY = os.environ.get("PRIVATE_KEY", "")  # shown once, when the webhook is created

app = FastAPI()
seen: set[str] = set()  # keep these in your database, for a day: retries end after 6 hours, but a person may send an event again


@app.post("/webhook")
async def webhook(request: Request, later: BackgroundTasks) -> dict[str, Any]:
    # The handshake: it carries no Authorization, so answer it before the key is checked.
    challenge = request.headers.get("X-AccessGrid-Webhook-Challenge")
    if challenge is not None:
        return {"challenge": challenge}

    given = request.headers.get("Authorization", "")
    if not PRIVATE_KEY or not hmac.compare_digest(given.encode(), f"Bearer {PRIVATE_KEY}".encode()):
        raise HTTPException(401)

    event = await request.json()  # a CloudEvent; its content type is application/cloudevents+json
    if event["id"] not in seen:  # an event may come twice: take each id once, and answer 200 to the second one too
        seen.add(event["id"])  # for real, store the whole event here: after your 200 it is yours
        later.add_task(work_on, event)  # done after the answer: it must not take longer than 15 seconds
    return {"received": True}


def work_on(event: dict[str, Any]) -> None:
    is_test = event.get("test", False)  # true on events made by "Send Test"
    print(event["type"], event["id"], "(test)" if is_test else "", event["data"], flush=True)
