"""The bare minimum: pycurl in threads, a handle and a kept-alive connection each, results as JSON lines."""

from __future__ import annotations

import json
import sys
from io import BytesIO
from itertools import count
from threading import Thread

import pycurl
from asked import KEY, Job, Store, body, main

HEADERS = ["Content-Type: application/json", f"Authorization: Bearer {KEY}"]


def run(job: Job) -> None:
    """Ask everything."""
    sys.setswitchinterval(0.05)  # at hundreds of threads the usual 5 ms cost more than all the rest
    store, numbers = Store(job.results), count()
    threads = [Thread(target=work, args=(job, store, numbers)) for _ in range(job.concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def work(job: Job, store: Store, numbers: count[int]) -> None:
    """Ask one after another until none is left."""
    curl = pycurl.Curl()
    curl.setopt(pycurl.URL, job.url)
    curl.setopt(pycurl.HTTPHEADER, HEADERS)
    curl.setopt(pycurl.NOSIGNAL, 1)
    while (number := next(numbers)) < job.n:
        reply = BytesIO()
        curl.setopt(pycurl.POSTFIELDS, json.dumps(body(number)))
        curl.setopt(pycurl.WRITEDATA, reply)
        curl.perform()
        store.add(number, json.loads(reply.getvalue()))


if __name__ == "__main__":
    main(run)
