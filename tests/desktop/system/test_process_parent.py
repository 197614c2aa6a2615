import os
import threading

from meshlight.desktop.system.process import end_with_parent


def test_the_end_of_the_parent_is_noticed_by_the_end_of_the_pipe_that_it_held() -> None:
    reads, writes = os.pipe()
    ended = threading.Event()
    end_with_parent(ended.set, {"MESHLIGHT_PARENT": "stdin"}, reads)
    os.write(writes, b"not the end")
    assert not ended.wait(0.05)
    os.close(writes)
    assert ended.wait(5)
    os.close(reads)


def test_without_such_a_parent_standard_input_is_left_alone() -> None:
    ended = threading.Event()
    reads, writes = os.pipe()
    os.close(writes)
    end_with_parent(ended.set, {}, reads)
    assert not ended.wait(0.05)
    os.close(reads)
