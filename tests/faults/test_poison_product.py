"""A product that kills every process that touches it: it fails, all others are classified."""

import multiprocessing
import os
import signal
from collections import deque

import numpy as np

from db.engine import connect
from worker.pipeline import Pipeline

POISON = "https://example.org/5.img"


class KillingArchive:
    def fetch(self, url):
        if url == POISON:
            os.kill(os.getpid(), signal.SIGKILL)
        raise FileNotFoundError(url)  # any other image fails, which takes no process down


class NoClassifier:
    def __call__(self, sha256):
        return self

    def probabilities(self, renderings):
        return np.zeros((len(renderings), 25), np.float32)


def work_in_a_process(url, run_id, number, sent):
    pipeline = Pipeline(connect(url), KillingArchive(), NoClassifier(), 2, 600, max_attempts=2)
    sent.send(list(pipeline.work_on(run_id, number, f"message-{number}")))


def test_the_chunk_is_split_until_the_one_product_is_found(story):
    database_url = story.engine.url.render_as_string(hide_password=False)
    run_id = story.listed(count=8, chunk_size=8)
    processes = multiprocessing.get_context("spawn")
    messages, deaths = deque([1]), 0
    while messages:
        number = messages.popleft()
        receiver, sender = processes.Pipe(duplex=False)
        process = processes.Process(
            target=work_in_a_process, args=(database_url, run_id, number, sender)
        )
        process.start()
        sender.close()
        process.join()
        if process.exitcode == 0:
            messages.extend(receiver.recv())
        else:  # as Celery does, the message of a killed process comes again
            assert process.exitcode == -signal.SIGKILL
            deaths += 1
            messages.append(number)
    lost = story.rows("SELECT product_id FROM outcome WHERE reason = 'worker lost'")
    assert lost == [("1P000000005EFF0000P2600L2M1",)]
    assert story.rows("SELECT count(*) FROM outcome") == [(8,)]
    assert deaths == 8  # two for each of the sizes 8, 4, 2 and 1
    assert story.rows("SELECT state FROM run") == [("finished",)]
