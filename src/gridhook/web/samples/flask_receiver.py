# pip install flask
# PRIVATE_KEY=... flask --app flask_receiver run --port 8000     (without PRIVATE_KEY it answers the handshake only)
import hmac
import os
import queue
import threading
from typing import Any

from flask import Flask, abort, request

PRIVATE_KEY = os.environ.get("PRIVATE_KEY", "")  # shown once, when the webhook is created

app = Flask(__name__)
seen: set[str] = set()  # keep these in your database, for a day: retries end after 6 hours, but a person may send an event again
looking = threading.Lock()
waiting: queue.Queue[dict[str, Any]] = queue.Queue()


@app.post("/webhook")
def webhook() -> dict[str, Any]:
    # The handshake: it carries no Authorization, so answer it before the key is checked.
    challenge = request.headers.get("X-AccessGrid-Webhook-Challenge")
    if challenge is not None:
        return {"challenge": challenge}

    given = request.headers.get("Authorization", "")
    if not PRIVATE_KEY or not hmac.compare_digest(given.encode(), f"Bearer {PRIVATE_KEY}".encode()):
        abort(401)

    event = request.get_json()  # a CloudEvent; its content type is application/cloudevents+json
    with looking:  # an event may come twice, even at the same moment: take each id once
        is_new = event["id"] not in seen
        seen.add(event["id"])
    if is_new:
        waiting.put(event)  # for real, store the whole event here: after your 200 it is yours
    return {"received": True}  # the second one gets 200 too; answer within 15 seconds


def work() -> None:
    while True:
        event = waiting.get()
        is_test = event.get("test", False)  # true on events made by "Send Test"
        print(event["type"], event["id"], "(test)" if is_test else "", event["data"], flush=True)


threading.Thread(target=work, daemon=True).start()
